begin;
select plan(6);

create function pg_temp.keyed() returns text language sql as $$
    select coalesce(string_agg(q.name, ' ' order by q.name), '') from underway.queue q where q.has_keys
$$;

select underway.create_queue(name) from unnest('{email,sms}'::text[]) as name;

select is(pg_temp.keyed(), '', 'a new queue has no concurrency keys');
select underway._mark_queue_keyed('email');
select is(pg_temp.keyed(), 'email', 'a queue is recorded to have concurrency keys, and no other queue is');

create temporary table before on commit drop as select q.ctid as version from underway.queue q where q.name = 'email';
select underway._mark_queue_keyed('email');
select results_eq(
    $$ select q.ctid from underway.queue q where q.name = 'email' $$, 'select version from before',
    'a queue that is recorded already is not written again'
);

select lives_ok($$ select underway._mark_queue_keyed('nowhere') $$, 'a queue that does not exist is ignored');
select lives_ok($$ select underway._mark_queue_keyed(null) $$, 'a null queue is ignored');

select underway.enqueue('sms', concurrency_key => 'a');
select is(pg_temp.keyed(), 'email sms', 'a task with a concurrency key marks its queue');

select * from finish();
rollback;
