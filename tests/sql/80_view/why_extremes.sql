-- the largest and the smallest values that settings and tasks accept

begin;
select plan(26);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('dead');

create temporary table setting on commit drop as
select 'extreme ' || row_number() over () as queue, settings
from unnest(array[
    $$timeout => '100 years', heartbeat => '100 years', retention => '100 years'$$,
    $$max_running => 2147483647, max_running_per_key => 2147483647, max_length => 2147483647$$,
    $$rate_limit => 2147483647, rate_period => '1 second'$$,
    $$rate_limit => 1, rate_period => '100 years'$$,
    $$rate_limit_per_key => 2147483647, rate_period => '100 years'$$,
    $$rate_limit_per_key => 1, rate_period => '1 second', fair => true$$,
    $$retry_policy => underway.retry_policy(2147483647, '100 years', '100 years', 1e6, 1), dead_letter_queue => 'dead'$$
]) as settings;

create function pg_temp.run(statement text)
returns void
language plpgsql
as $$
begin
    execute run.statement;
end;
$$;

select lives_ok(
    format('select underway.create_queue(%L, %s)', queue, settings), format('a queue is created with %s', settings)
)
from setting;

-- in each of them: a task that has failed, a running one, and a pending one of the same key, with a number of 5,000 digits
select pg_temp.run(format(
    'select underway.enqueue(%L, (%L)::jsonb, concurrency_key => repeat(''k'', 500))', queue, repeat('9', 5000)
))
from setting, generate_series(1, 3);
select count(*)
from setting s, underway.dequeue(s.queue) c, underway.fail(c.id, c.lease, to_jsonb(repeat('9', 5000)::numeric));
select count(*) from setting s, underway.dequeue(s.queue);
select underway.enqueue(queue, run_at => underway._clock() + interval '100 years', headers => '{"n": 1e100000}')
from setting;

select lives_ok(
    format(
        'select r.* from underway.task_list l, underway.why(l.id) r where l.queue = %L', queue
    ),
    format('why answers for each task of a queue with %s', settings)
)
from setting;

select lives_ok('select * from underway.' || view, format('%s is read', view))
from unnest('{queue_stats,task_list,worker_stats,schedule_stats,batch_stats}'::text[]) as view;
select lives_ok('select underway.stats()', 'stats is called');
select lives_ok(
    'select i.* from underway.task_list l, underway.task_info(l.id) i', 'task_info returns each of the tasks'
);
select is(
    (select max(length(i.input::text)) from underway.task_list l, underway.task_info(l.id) i), 5000,
    'a number of 5,000 digits is returned as it was enqueued'
);

-- a worker and a schedule

select lives_ok(
    $$
        select underway.register_worker(repeat('w', 5000), array(select queue from setting), 2147483647)
    $$,
    'a worker may have the largest concurrency'
);
select lives_ok(
    $$
        select underway.schedule('far', 'extreme 1', '@yearly', starts_at => underway._clock() + interval '99 years',
            jitter => '0', input => '1e100000'), underway.schedule('ended', 'extreme 1', '@daily', ends_at => 'infinity')
    $$,
    'a schedule may start late and never end'
);
select lives_ok('select * from underway.schedule_stats', 'schedule_stats is read with extreme schedules');
select lives_ok('select * from underway.worker_stats', 'worker_stats is read with an extreme worker');

select * from finish();
rollback;
