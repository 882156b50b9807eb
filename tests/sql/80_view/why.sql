begin;
select plan(57);

create temp table given (code text);

-- The codes of the reasons why a task does not run; each is recorded as tested.
create function pg_temp.codes(task bigint) returns text language sql as $$
    with reasons as (select r.code from underway.why(codes.task) r),
    recorded as (insert into given select code from reasons returning code)
    select string_agg(code, ' ') from recorded
$$;

create function pg_temp.sentence(task bigint, code text) returns text language sql as $$
    select r.reason from underway.why(sentence.task) r where r.code = sentence.code
$$;

create function pg_temp.details(task bigint, code text) returns jsonb language sql as $$
    select r.details from underway.why(details.task) r where r.code = details.code
$$;

create function pg_temp.keyed(key text, priority integer default 0) returns bigint language sql as $$
    select underway.enqueue('keyed', concurrency_key => keyed.key, priority => keyed.priority)
$$;

select underway_test.stop_clock('2026-01-01 12:00:00Z');
set local time zone 'UTC';

-- workers

create temp table task as select underway_test.ready_task() as id;
select is(pg_temp.codes(id), 'no_worker', 'without a worker the reason is no_worker') from task;
select is(pg_temp.sentence(id, 'no_worker'), 'no live worker serves queue ''email''', 'no_worker names the queue')
from task;

create temp table worker as select underway.register_worker('w1', '{email,keyed,limited,rate}'::text[]) as id
from (select underway.create_queue('keyed'), underway.create_queue('limited', max_running => 1),
    underway.create_queue('rate', rate_limit => 60, rate_period => '1 minute')) queues;

select underway_test.advance_clock('2 minutes');
select is(pg_temp.codes(id), 'no_worker', 'a worker that was not seen for a minute does not count') from task;
update underway.worker set seen_at = underway._clock();
update underway.worker set stop_asked_at = underway._clock();
select is(pg_temp.codes(id), 'no_worker', 'a worker that was asked to stop does not count') from task;
update underway.worker set stop_asked_at = null;

-- ready

create temp table second as select underway_test.ready_task() as id;
select is(pg_temp.codes(id), 'queued', 'a ready task of a queue with a live worker is queued') from second;
select is(
    pg_temp.sentence(id, 'queued'),
    'ready: 1 task of its priority is ahead of it; live workers of queue ''email'': w1',
    'queued counts the tasks ahead of it and names the workers'
)
from second;

-- tasks that expire

create temp table brief as select underway.enqueue('email', expires => '90 seconds') as id;
select is(pg_temp.codes(id), 'expires queued', 'a ready task that may expire is expires, beside the other reasons') from brief;
select is(
    pg_temp.sentence(id, 'expires'), 'cancelled if no worker has begun it by 2026-01-01 12:03:30+00, in 00:01:30',
    'expires says when'
)
from brief;
select underway_test.advance_clock('90 seconds');
update underway.worker set seen_at = underway._clock();
select is(pg_temp.codes(id), 'expired', 'a task that has expired is only expired') from brief;
select is(
    pg_temp.sentence(id, 'expired'), 'expired at 2026-01-01 12:03:30+00; maintain() will cancel it', 'expired says when'
)
from brief;
select (underway._expire_overdue()).expired;
select is(pg_temp.codes(id), 'finished', 'once it is cancelled it is finished') from brief;
select is(
    pg_temp.sentence(id, 'finished'),
    'cancelled at 2026-01-01 12:03:30+00: no worker had begun it by 2026-01-01 12:03:30+00, when it expired',
    'finished says that it has expired'
)
from brief;
select is(pg_temp.details(id, 'finished') ->> 'reason', 'expired', 'the details of finished have the reason') from brief;

select underway_test.advance_clock('-90 seconds');
update underway.worker set seen_at = underway._clock();

-- a job that workers do not know

select underway.set_skipped_jobs((select id from worker), '{export}');
create temp table unknown as select underway.enqueue('email', job => 'export') as id;
select is(pg_temp.codes(id), 'skipped', 'a task that every live worker puts back is skipped') from unknown;
select is(
    pg_temp.sentence(id, 'skipped'),
    'put back by workers that do not know job ''export'', or not with the arguments of all its tasks: w1',
    'skipped names the job and the workers'
)
from unknown;
create temp table newer as select underway.register_worker('w2', '{email}') as id;
select is(pg_temp.codes(id), 'skipped queued', 'a task that another worker may know is queued as well') from unknown;
select underway.unregister_worker(id) from newer;
select underway.cancel(id) from unknown;

-- running and finished

create temp table held as select h.id, h.lease from underway.dequeue('email', worker => (select id from worker)) h;
select is(pg_temp.codes(id), 'running', 'a task that is in progress is running') from held;
select is(
    pg_temp.sentence(id, 'running'),
    'running: attempt 1, worker w1, since 2026-01-01 12:02:00+00; lease until 2026-01-01 12:02:30+00',
    'running names the worker'
)
from held;
select underway_test.advance_clock('31 seconds');
select is(pg_temp.codes(id), 'lease_lapsed', 'a task whose lease has lapsed is lease_lapsed') from held;
select is(
    pg_temp.sentence(id, 'lease_lapsed'),
    'worker w1 did not renew the lease, which lapsed at 2026-01-01 12:02:30+00; maintain() will reclaim the task',
    'lease_lapsed says that maintain() will reclaim the task'
)
from held;
select underway.fail(id, lease, '"no"', retry_after => '1 hour') from held;
select is(pg_temp.codes(id), 'not_due', 'a task that waits for its next attempt is not due') from held;
select is(
    pg_temp.sentence(id, 'not_due'), 'due at 2026-01-01 13:02:31+00, in 01:00:00; attempt 1 failed',
    'not_due tells when the task is due and that an attempt failed'
)
from held;
select underway.cancel(id) from held;
select is(pg_temp.codes(id), 'finished', 'a final task is finished') from held;
select is(pg_temp.sentence(id, 'finished'), 'cancelled at 2026-01-01 12:02:31+00', 'finished tells the state and the time') from held;
select throws_ok('select * from underway.why(987654321)', 'UW004', null, 'a task that does not exist is refused');

-- pauses

select underway.pause_queue('email');
select is(pg_temp.codes(id), 'queue_paused', 'a task of a paused queue is queue_paused') from second;
select is(pg_temp.sentence(id, 'queue_paused'), 'queue ''email'' has been paused since 2026-01-01 12:02:31+00',
    'queue_paused tells the time of the pause')
from second;
create temp table late as select underway.enqueue('email', delay => '1 minute') as id;
select is(pg_temp.codes(id), 'not_due queue_paused', 'all reasons that apply are returned') from late;

-- keys

create temp table keyed as
select pg_temp.keyed('a') as first, pg_temp.keyed('a') as second, pg_temp.keyed('a') as third, pg_temp.keyed('b') as b;
create temp table running as select r.id, r.lease from underway.dequeue('keyed', 1) r;
select is(pg_temp.codes(second), 'key_full', 'the next task of a full concurrency key is key_full') from keyed;
select is(
    pg_temp.sentence(second, 'key_full'),
    format('concurrency key ''a'' is full: 1 running, max_running_per_key is 1: tasks %s', first),
    'key_full names the running tasks'
)
from keyed;
select is(pg_temp.codes(third), 'key_full key_queued', 'the task after it is also key_queued') from keyed;
select is(pg_temp.details(third, 'key_queued'), '{"ahead": 1, "concurrency_key": "a"}', 'key_queued counts the tasks ahead')
from keyed;
select underway.pause_key('keyed', 'b');
select is(pg_temp.codes(b), 'key_paused', 'a task of a paused key is key_paused') from keyed;
select underway.complete(id, lease) from running;
select is(pg_temp.codes(second), 'queued', 'the next task of a free key is queued') from keyed;

select underway.create_queue('keyed', max_running_per_key => 102);
create temp table many as select pg_temp.keyed('many') as id from generate_series(1, 103);
select from underway.dequeue('keyed', 200);
select is(pg_temp.codes(max(id)), 'key_full', 'a key with max_running_per_key 102 is full when 102 tasks run') from many;
select is(
    jsonb_array_length(pg_temp.details(max(id), 'key_full') -> 'running'), 100, 'key_full names at most 100 tasks'
)
from many;
select underway.create_queue('keyed', max_running_per_key => 1);

-- limits

create temp table limited as
select underway.enqueue('limited') as first, underway.enqueue('limited') as second;
select from underway.dequeue('limited');
select is(pg_temp.codes(second), 'max_running', 'a task of a queue at max_running is max_running') from limited;
select is(
    pg_temp.sentence(second, 'max_running'), 'queue ''limited'' is at its limit: 1 running, max_running is 1',
    'max_running tells the limit'
)
from limited;

select underway.enqueue_many('rate', array_fill('1'::jsonb, array[60]));
select count(*) from underway.dequeue('rate', 100);
create temp table rate as select underway.enqueue('rate') as id;
select is(pg_temp.codes(id), 'rate_limit', 'a task of a queue without tokens is rate_limit') from rate;
select is(
    pg_temp.sentence(id, 'rate_limit'),
    'queue ''rate'' has used its rate limit of 60 per 00:01:00; the next token comes at 2026-01-01 12:02:32+00',
    'rate_limit tells when the next token comes'
)
from rate;

select underway.create_queue('keyed', rate_limit_per_key => 1, rate_period => '1 minute');
create temp table rated as select pg_temp.keyed('c') as first, pg_temp.keyed('c') as second;
select underway.complete(r.id, r.lease) from underway.dequeue('keyed', 10) r;
select is(pg_temp.codes(second), 'key_rate_limit', 'a task of a concurrency key without tokens is key_rate_limit') from rated;

-- dependencies

create temp table ahead as select underway.enqueue_many('email', array_fill('1'::jsonb, array[12])) as ids;
create temp table after as
select
    underway.enqueue('email', after => ids) as id, underway.enqueue('email', after => ids[2:3]) as two,
    underway.enqueue('email', after => ids[4:4], after_failure => 'run') as run
from ahead;
select is(pg_temp.codes(two), 'after', 'a task with unfinished dependencies waits after them') from after;
select is(
    pg_temp.sentence(two, 'after'), format('waits for tasks that are not final: %s, %s', ids[2], ids[3]),
    'after names the tasks'
)
from after, ahead;
select is(
    pg_temp.sentence(id, 'after'), format('waits for tasks that are not final: %s, ...', array_to_string(ids[1:10], ', ')),
    'the sentence names at most ten tasks'
)
from after, ahead;
select is(pg_temp.details(id, 'after') -> 'live', to_jsonb(ids), 'the details name all tasks') from after, ahead;
select underway.cancel(ids[2]) from ahead;
select is(pg_temp.codes(two), 'after', 'a task waits after its live dependencies when another one was cancelled') from after;
select underway.cancel(ids[3]) from ahead;
select is(pg_temp.codes(two), 'after_failed', 'a task whose dependencies are final and not all succeeded is after_failed') from after;
select is(
    pg_temp.sentence(two, 'after_failed'),
    format('waits for tasks that did not succeed: %s, %s; retry them, or cancel this task', ids[2], ids[3]),
    'after_failed names the tasks and says what helps'
)
from after, ahead;
select is(pg_temp.details(two, 'after_failed') -> 'failed', to_jsonb(ids[2:3]), 'the details of after_failed name the tasks') from after, ahead;
select underway.delete_task(ids[2]) from ahead;
select is(
    pg_temp.sentence(two, 'after_failed'),
    format(
        'waits for tasks that did not succeed: %1$s, %2$s; %1$s can no longer be retried: cancel this task',
        ids[2], ids[3]
    ),
    'after_failed names the tasks that can no longer be retried'
)
from after, ahead;

create temp table batch as
select underway.enqueue_batch('[{"queue": "email"}]', on_failure => '{"queue": "email"}', on_final => '{"queue": "email"}') as id;
create temp table callback as select on_failure, on_final from underway.batch_stats;
select is(pg_temp.codes(on_failure), 'on_failure', 'the on_failure callback of a batch is on_failure') from callback;
select is(
    pg_temp.sentence(on_failure, 'on_failure'),
    format('runs when a task of batch %s fails or is cancelled; live tasks of the batch: 1', batch.id),
    'on_failure counts the live tasks of the batch'
)
from callback, batch;
select is(pg_temp.codes(on_final), 'after', 'the on_final callback of a batch waits after its tasks') from callback;

-- two sessions that settle the last two tasks at once leave the batch to maintain
update underway.batch_task m set outcome = 'failed' from batch where m.batch = batch.id;
select is(
    pg_temp.sentence(on_final, 'after'), 'the tasks that it waits for have just finished; maintain() will make it ready',
    'a task whose dependencies have just failed is still waiting until maintain'
)
from callback;
delete from underway.batch_task m using batch where m.batch = batch.id;
select is(
    pg_temp.sentence(on_final, 'after'), 'the tasks that it waits for have just finished; maintain() will make it ready',
    'a task whose dependencies have just succeeded is still waiting until maintain'
)
from callback;

-- dropped queues

delete from underway.queue where name = 'rate';
select is(pg_temp.codes(id), 'no_queue', 'a task of a dropped queue is no_queue') from rate;

select is(
    (select array_agg(distinct code order by code) from given),
    (
        select array_agg(distinct found.code[1] order by found.code[1])
        from pg_proc p,
            lateral regexp_matches(
                p.prosrc, '(?:row\(\s*|then |else )''([a-z_]+)''(?=,| else| end)', 'g'
            ) as found (code)
        where p.pronamespace = 'underway'::regnamespace
          and p.proname in ('why', '_why_pending', '_why_waiting')
          and found.code[1] <> 'in_progress'
    ),
    'each code that the function returns is tested here'
);

select * from finish();
rollback;
