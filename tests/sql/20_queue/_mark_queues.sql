begin;
select plan(9);

create function pg_temp.marks() returns text language sql as $$
    select coalesce(string_agg(q.name || ':' || concat_ws(
        ',', case when q.jobs_have_attempts then 'attempts' end, case when q.jobs_have_retention then 'retention' end,
        case when q.jobs_have_defaults then 'defaults' end
    ), ' ' order by q.name), '')
    from underway.queue q
$$;

select underway.create_queue('a');
select underway.register_job('plain', 'a');
select is(pg_temp.marks(), 'a:', 'a job without settings marks no queue');
select underway.create_queue('b');
select underway.register_job('brief', 'a', timeout => '1 minute');
select is(pg_temp.marks(), 'a:attempts b:attempts', 'a job with settings for attempts marks all queues, because its tasks may be in any of them');
update underway.queue set jobs_have_attempts = false;
select underway.register_job('brief', 'a', heartbeat => '1 minute');
select is(pg_temp.marks(), 'a:attempts b:attempts', 'a heartbeat is such a setting');
update underway.queue set jobs_have_attempts = false;
select underway.register_job('brief', 'a', retry_policy => underway.retry_policy(2));
select is(pg_temp.marks(), 'a:attempts b:attempts', 'a retry policy is one too');
select underway.register_job('kept', 'a', retention => '1 minute');
select is(pg_temp.marks(), 'a:attempts,retention b:attempts,retention', 'a retention marks the queues for itself');
select underway.register_job('urgent', 'a', priority => 1);
select is(
    pg_temp.marks(), 'a:attempts,retention,defaults b:attempts,retention,defaults', 'so does what is applied at the enqueue'
);
select underway.create_queue('c');
select is((select to_jsonb(c) - 'name' - 'created_at' from underway.queue c where name = 'c'),
    (select to_jsonb(a) - 'name' - 'created_at' from underway.queue a where name = 'a'), 'a new queue is marked as the others are');
create temporary table before on commit drop as select ctid as place, name from underway.queue;
select underway._mark_queues();
select results_eq('select ctid, name from underway.queue', 'select place, name from before', 'nothing is written where all are marked');
update underway.queue set jobs_have_attempts = false;
select underway._run_chores();
select is((select count(*) from underway.queue where jobs_have_attempts), 3::bigint, 'maintain corrects the marks');

select * from finish();
rollback;
