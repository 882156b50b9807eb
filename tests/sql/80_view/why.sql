begin;
select plan(47);

create temp table given (code text);

-- The codes of the reasons why a task does not run; each is noted as seen.
create function pg_temp.codes(task bigint) returns text language sql as $$
    with reasons as (select r.code from underway.why(codes.task) r),
    noted as (insert into given select code from reasons returning code)
    select string_agg(code, ' ') from noted
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

-- nobody is there

create temp table task as select underway_test.ready_task() as id;
select is(pg_temp.codes(id), 'no_worker', 'without a worker that is the reason') from task;
select is(pg_temp.sentence(id, 'no_worker'), 'no worker that is alive serves queue ''email''', 'and the queue is named')
from task;

create temp table worker as select underway.register_worker('w1', '{email,keyed,limited,rate}'::text[]) as id
from (select underway.create_queue('keyed'), underway.create_queue('limited', max_running => 1),
    underway.create_queue('rate', rate_limit => 60, rate_period => '1 minute')) queues;

select underway_test.advance_clock('2 minutes');
select is(pg_temp.codes(id), 'no_worker', 'a worker that has not been seen for long does not count') from task;
update underway.worker set seen_at = underway._clock();
update underway.worker set stop_asked_at = underway._clock();
select is(pg_temp.codes(id), 'no_worker', 'nor does one that was asked to stop') from task;
update underway.worker set stop_asked_at = null;

-- nothing holds it back

create temp table second as select underway_test.ready_task() as id;
select is(pg_temp.codes(id), 'in_line', 'nothing holds a ready task back that a worker serves') from second;
select is(
    pg_temp.sentence(id, 'in_line'),
    'nothing holds it back: 1 tasks of its priority come before it, and 1 workers serve its queue: w1',
    'but those before it'
)
from second;

-- it runs, or has run

create temp table held as select h.id, h.lease from underway.dequeue('email', worker => (select id from worker)) h;
select is(pg_temp.codes(id), 'running', 'a task that is in progress runs') from held;
select is(
    pg_temp.sentence(id, 'running'),
    'it runs: attempt 1, by worker w1, since 2026-01-01 12:02:00+00; its lease lasts until 2026-01-01 12:02:30+00',
    'and its holder is named'
)
from held;
select underway_test.advance_clock('31 seconds');
select is(pg_temp.codes(id), 'lease_lapsed', 'unless its lease has lapsed') from held;
select is(
    pg_temp.sentence(id, 'lease_lapsed'),
    'worker w1 has not renewed its lease, which lapsed at 2026-01-01 12:02:30+00: maintain() will take it back',
    'and what will happen is said'
)
from held;
select underway.fail(id, lease, '"no"', retry_after => '1 hour') from held;
select is(pg_temp.codes(id), 'not_due', 'a task that is to be tried again is not due') from held;
select is(
    pg_temp.sentence(id, 'not_due'), 'it is due at 2026-01-01 13:02:31+00, in 01:00:00, after attempt 1 failed',
    'and when it will be'
)
from held;
select underway.cancel(id) from held;
select is(pg_temp.codes(id), 'finished', 'what is final does not run any more') from held;
select is(pg_temp.sentence(id, 'finished'), 'it is cancelled since 2026-01-01 12:02:31+00', 'since when') from held;
select throws_ok('select * from underway.why(987654321)', 'UW004', null, 'a task that does not exist is refused');

-- pauses

select underway.pause_queue('email');
select is(pg_temp.codes(id), 'queue_paused', 'a paused queue holds its tasks back') from second;
select is(pg_temp.sentence(id, 'queue_paused'), 'queue ''email'' is paused since 2026-01-01 12:02:31+00', 'since when')
from second;
create temp table late as select underway.enqueue('email', delay => '1 minute') as id;
select is(pg_temp.codes(id), 'not_due queue_paused', 'each reason is told') from late;

-- keys

create temp table keyed as
select pg_temp.keyed('a') as first, pg_temp.keyed('a') as second, pg_temp.keyed('a') as third, pg_temp.keyed('b') as b;
create temp table running as select r.id, r.lease from underway.dequeue('keyed', 1) r;
select is(pg_temp.codes(second), 'key_taken', 'a key that is taken holds its next task back') from keyed;
select is(
    pg_temp.sentence(second, 'key_taken'),
    format('concurrency key ''a'' is taken: 1 of at most 1 tasks of it run: %s', first), 'and who has it is named'
)
from keyed;
select is(pg_temp.codes(third), 'key_taken behind_key', 'the one after it waits for that, too') from keyed;
select is(pg_temp.details(third, 'behind_key'), '{"before": 1, "concurrency_key": "a"}', 'and how many come before')
from keyed;
select underway.pause_key('keyed', 'b');
select is(pg_temp.codes(b), 'key_paused', 'a paused key holds its tasks back') from keyed;
select underway.complete(id, lease) from running;
select is(pg_temp.codes(second), 'in_line', 'when the key is free nothing does') from keyed;

select underway.create_queue('keyed', max_running_per_key => 102);
create temp table many as select pg_temp.keyed('many') as id from generate_series(1, 103);
select from underway.dequeue('keyed', 200);
select is(pg_temp.codes(max(id)), 'key_taken', 'a key that many may have is taken by as many') from many;
select is(
    jsonb_array_length(pg_temp.details(max(id), 'key_taken') -> 'running'), 100, 'of whom the first hundred are named'
)
from many;
select underway.create_queue('keyed', max_running_per_key => 1);

-- limits

create temp table limited as
select underway.enqueue('limited') as first, underway.enqueue('limited') as second;
select from underway.dequeue('limited');
select is(pg_temp.codes(second), 'max_running', 'a full queue holds its tasks back') from limited;
select is(
    pg_temp.sentence(second, 'max_running'), '1 tasks of queue ''limited'' run, and that is its max_running',
    'and its limit is told'
)
from limited;

select underway.enqueue_many('rate', array_fill('1'::jsonb, array[60]));
select count(*) from underway.dequeue('rate', 100);
create temp table rate as select underway.enqueue('rate') as id;
select is(pg_temp.codes(id), 'rate_limit', 'a rate that is used up holds tasks back') from rate;
select is(
    pg_temp.sentence(id, 'rate_limit'),
    'the rate limit of queue ''rate'', 60 in 00:01:00, is used up until 2026-01-01 12:02:32+00', 'until when'
)
from rate;

select underway.create_queue('keyed', rate_limit_per_key => 1, rate_period => '1 minute');
create temp table rated as select pg_temp.keyed('c') as first, pg_temp.keyed('c') as second;
select underway.complete(r.id, r.lease) from underway.dequeue('keyed', 10) r;
select is(pg_temp.codes(second), 'key_rate_limit', 'a key has a rate of its own') from rated;

-- what comes after others

create temp table ahead as select underway.enqueue_many('email', array_fill('1'::jsonb, array[12])) as ids;
create temp table after as
select
    underway.enqueue('email', after => ids) as id, underway.enqueue('email', after => ids[2:3]) as two,
    underway.enqueue('email', after => ids[4:4], after_failure => 'run') as run
from ahead;
select is(pg_temp.codes(two), 'after', 'a task that comes after others waits for those') from after;
select is(
    pg_temp.sentence(two, 'after'), format('it comes after tasks that are not final: %s, %s', ids[2], ids[3]),
    'which are named'
)
from after, ahead;
select is(
    pg_temp.sentence(id, 'after'), format('it comes after tasks that are not final: %s, ...', array_to_string(ids[1:10], ', ')),
    'the first ten of them'
)
from after, ahead;
select is(pg_temp.details(id, 'after') -> 'live', to_jsonb(ids), 'and all for a machine') from after, ahead;
select underway.cancel(ids[2]) from ahead;
select is(pg_temp.codes(two), 'after', 'one has failed; as long as another is live that is the reason') from after;
select underway.cancel(ids[3]) from ahead;
select is(pg_temp.codes(two), 'after_failed', 'when all are final, those that have not succeeded are') from after;
select is(
    pg_temp.sentence(two, 'after_failed'),
    format('it comes after tasks that have not succeeded: %s, %s; it waits until they are retried', ids[2], ids[3]),
    'and what helps is said'
)
from after, ahead;
select is(pg_temp.details(two, 'after_failed') -> 'failed', to_jsonb(ids[2:3]), 'which are told') from after, ahead;
select underway.delete_task(ids[2]) from ahead;
select is(
    pg_temp.sentence(two, 'after_failed'),
    format(
        'it comes after tasks that have not succeeded: %1$s, %2$s; %1$s left the history and can not be retried: cancel it',
        ids[2], ids[3]
    ),
    'and that nothing helps, where they are not known any more'
)
from after, ahead;

create temp table batch as
select underway.enqueue_batch('[{"queue": "email"}]', on_failure => '{"queue": "email"}', on_final => '{"queue": "email"}') as id;
create temp table callback as select on_failure, on_final from underway.batch_stats;
select is(pg_temp.codes(on_failure), 'on_failure', 'what waits for a failure of a batch may never run') from callback;
select is(
    pg_temp.sentence(on_failure, 'on_failure'),
    format('it runs when a task of batch %s does not succeed; 1 of them are live', batch.id), 'and may yet'
)
from callback, batch;
select is(pg_temp.codes(on_final), 'after', 'what waits for its end comes after its tasks') from callback;

-- two who settle the last two tasks at once leave it to maintain
update underway.batch_task m set outcome = 'failed' from batch where m.batch = batch.id;
select is(
    pg_temp.sentence(on_final, 'after'), 'what it comes after has just ended: maintain() will see it',
    'and for a moment the batch may be noted only'
)
from callback;
delete from underway.batch_task m using batch where m.batch = batch.id;
select is(
    pg_temp.sentence(on_final, 'after'), 'what it comes after has just ended: maintain() will see it', 'however it has ended'
)
from callback;

-- the rest


delete from underway.queue where name = 'rate';
select is(pg_temp.codes(id), 'no_queue', 'a queue may have been dropped meanwhile') from rate;

select is(
    (select array_agg(distinct code order by code) from given),
    (
        select array_agg(distinct found.code[1] order by found.code[1])
        from pg_proc p,
            lateral regexp_matches(
                p.prosrc, '(?:row\(\s*|then |else )''([a-z_]+)''(?=,| else| end)', 'g'
            ) as found (code)
        where p.pronamespace = 'underway'::regnamespace
          and p.proname in ('why', '_why_waiting', '_why_after')
          and found.code[1] <> 'in_progress'
    ),
    'each reason that there is has been seen'
);

select * from finish();
rollback;
