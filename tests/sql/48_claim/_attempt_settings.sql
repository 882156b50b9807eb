begin;
select plan(3);

select underway.create_queue('email');
select underway.register_job('a', 'email', timeout => '1 minute', retry_policy => underway.retry_policy(2));
select underway.register_job('b', 'email', heartbeat => '5 seconds');
select underway.enqueue('email', job => job) from unnest('{a,b,c,a}'::text[] || null::text) as job;

create function pg_temp.settings(jobs text) returns text language sql as $$
    select string_agg(format('%s %s %s', s.timeout, s.heartbeat, s.max_attempts), ', ' order by s.number)
    from unnest(underway._attempt_settings(array(
        select t.ctid
        from unnest(string_to_array(settings.jobs, ' ')) with ordinality as given (job, number)
        join (select distinct on (one.job) one.ctid, one.job from underway.task one) t on coalesce(t.job, '-') = given.job
        order by given.number
    ))) with ordinality as s (timeout, heartbeat, max_attempts, number)
$$;

select is(pg_temp.settings('b a'), ' 00:00:05 , 00:01:00  2', 'each task has the settings of its job, in the order of the tasks');
select is(
    pg_temp.settings('c a -'), '  , 00:01:00  2,   ', 'a task without a job, or with one that is not registered, has none'
);
select is(underway._attempt_settings('{}'), '{}', 'no tasks have no settings');

select * from finish();
rollback;
