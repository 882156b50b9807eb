-- the errors that are kept

begin;
select plan(25);

select underway_test.stop_clock();
select underway.create_queue('email', retry_policy => underway.retry_policy(1000, '0', '0', 1, 0));

create function pg_temp.kept(error jsonb) returns jsonb language plpgsql as $$
declare
    v_held underway_test.held := underway_test.held_task();
begin
    perform underway.fail(v_held.id, v_held.lease, kept.error, retryable => false);
    return (select h.errors -> 0 from underway.task_history h where h.id = v_held.id);
end;
$$;

-- what an error may be

select is(
    pg_temp.kept(error.given) - array['attempt', 'started_at', 'failed_at'], error.kept,
    format('%s is kept as %s', error.given, error.kept)
)
from (
    values
        ('"refused"'::jsonb, '{"message": "refused"}'::jsonb),
        ('{"type": "E", "message": "m", "traceback": "t"}', '{"type": "E", "message": "m", "traceback": "t"}'),
        ('{"message": "m", "code": 421}', '{"message": "m", "code": 421}'),
        ('17', '{"message": "17"}'),
        ('[1, 2]', '{"message": "[1, 2]"}'),
        ('null', '{"message": "no error was given"}'),
        (null, '{"message": "no error was given"}')
) as error (given, kept);

select is(
    pg_temp.kept('{"message": "m", "attempt": 99, "failed_at": "yesterday", "started_at": 5}'),
    jsonb_build_object(
        'message', 'm', 'attempt', 1, 'failed_at', '2030-01-01 12:00:00+00'::timestamptz,
        'started_at', '2030-01-01 12:00:00+00'::timestamptz
    ),
    'the attempt and its times are those of the database, whatever the error says'
);

-- at most 32 KiB each

create temp table error as
select name, pg_temp.kept(given) as kept
from (
    values
        ('of a megabyte', jsonb_build_object('type', 'E', 'message', repeat('m', 500000), 'traceback', repeat('t', 500000) || 'end')),
        ('of a megabyte of emoji', jsonb_build_object('type', repeat('🚀', 1000), 'message', repeat('🚀', 100000), 'traceback', repeat('🚀', 100000))),
        ('of a megabyte of escapes', jsonb_build_object('type', repeat(e'\x01', 1000), 'message', repeat(e'\x01', 100000), 'traceback', repeat(e'\x01', 100000))),
        ('that is one long string', to_jsonb(repeat('m', 1000000))),
        ('of exactly 32 KiB', jsonb_build_object('message', repeat('m', 32768 - 15)))
) as given (name, given);

select cmp_ok(
    octet_length(error.kept::text), '<=', 32768, format('an error %s takes at most 32 KiB', error.name)
)
from error;

select is(
    error.kept ->> 'type', 'E', 'an error that is cut keeps its type'
)
from error where error.name = 'of a megabyte';

select matches(
    error.kept ->> 'message', '^m+$', 'the beginning of its message'
)
from error where error.name = 'of a megabyte';

select matches(
    error.kept ->> 'traceback', '^t+end$', 'the end of its traceback'
)
from error where error.name = 'of a megabyte';

select is(error.kept -> 'truncated', 'true', 'a truncated error says so') from error where error.name = 'of a megabyte';

-- each attempt, the last twenty

create function pg_temp.attempts(task bigint, times integer) returns void language plpgsql as $$
declare
    v_claimed underway.claimed_task;
begin
    for v_time in 1..attempts.times loop
        perform underway_test.advance_clock('1 second');
        select claimed.* into strict v_claimed from underway.dequeue('email') as claimed where claimed.id = attempts.task;
        perform underway.fail(v_claimed.id, v_claimed.lease, to_jsonb('failure of attempt ' || v_claimed.attempt));
    end loop;
end;
$$;

create function pg_temp.attempts_kept(task bigint) returns integer[] language sql as $$
    select array_agg((error ->> 'attempt')::integer order by place)
    from underway.task_info(attempts_kept.task) i, jsonb_array_elements(i.errors) with ordinality as kept (error, place)
$$;

create temp table task as select underway_test.ready_task() as id;

select pg_temp.attempts(task.id, 1) from task;

select is(pg_temp.attempts_kept(task.id), array[1], 'the error of the first attempt is kept') from task;

select pg_temp.attempts(task.id, 19) from task;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(1, 20)),
    'twenty attempts leave twenty errors, in their order'
)
from task;

select pg_temp.attempts(task.id, 1) from task;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(2, 21)), 'one more pushes the first one out'
)
from task;

select pg_temp.attempts(task.id, 29) from task;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(31, 50)), 'of fifty errors the last twenty are kept'
)
from task;

-- attempts that were not used up leave none

create temp table snoozed as select claimed.id, claimed.lease from task, underway.dequeue('email') as claimed where claimed.id = task.id;
select underway.snooze(snoozed.id, snoozed.lease, '0') from snoozed;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(31, 50)), 'a snooze pushes nothing out'
)
from task;

-- with the task into the history, and back

create temp table last_ as select claimed.id, claimed.lease from task, underway.dequeue('email') as claimed where claimed.id = task.id;
select underway_test.advance_clock('1 second');
select underway.fail(last_.id, last_.lease, '"the last"', retryable => false) from last_;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(32, 51)),
    'the history has the last twenty, the fatal one among them'
)
from task;

select underway.retry(task.id) from task;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(32, 51)), 'a task that is retried still has them'
)
from task;

select pg_temp.attempts(task.id, 3) from task;

select is(
    pg_temp.attempts_kept(task.id), array(select generate_series(35, 51)) || array[1, 2, 3],
    'the failures of its new attempts push the oldest out'
)
from task;

select * from finish();
rollback;
