-- tasks of a fair queue that are tried again take the turn of their key

begin;
select plan(15);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- The running task of this name ends its attempt.
create function pg_temp.back(name text, how text) returns void language plpgsql as $$
declare
    v_held underway_test.held;
begin
    select t.id, t.lease into strict v_held
    from underway.task t
    where t.input = to_jsonb(back.name) and t.state = 'in_progress';

    case back.how
        when 'fail' then perform underway.fail(v_held.id, v_held.lease, '"x"', retry_after => '1 minute');
        when 'snooze' then perform underway.snooze(v_held.id, v_held.lease, '1 minute');
        when 'release' then perform underway.release(v_held.id, v_held.lease);
        when 'lapse' then
            update underway.task t set lease_expires_at = underway._clock() where t.id = v_held.id;
            perform underway._reclaim(everything => true);
    end case;
end;
$$;

-- later

select underway_test.keyed_tasks('a1 a2 b1 b2');
select is(underway_test.claimed(), 'a1 b1', 'one task of each key is claimed');
select pg_temp.back('a1', 'fail'), pg_temp.back('b1', 'snooze');
select is(underway_test.claimed_later(), 'a2 b2', 'while a task waits for its next attempt, the next task of its key is claimed');
select is(underway_test.parked(), '', 'a task that waits for its next attempt is not parked');
select underway_test.done('a2 b2');
select underway_test.keyed_tasks('c1');
select underway_test.advance_clock('1 minute');
select is(underway_test.served(3), 'c1 a1 b1', 'a task whose next attempt is due lines up behind the tasks that were ready before');

-- at once

select underway_test.keyed_tasks('a1 a2 1');
select is(underway_test.claimed_later(), 'a1 1', 'a task of a key and a task without a key are claimed');
select pg_temp.back('a1', 'release'), pg_temp.back('1', 'release');
select is(underway_test.claimed_later(), 'a1 1', 'a released task is claimed again before the next task of its key');
select pg_temp.back('a1', 'lapse');
select is(underway_test.claimed_later(), 'a2', 'while a reclaimed task waits for its backoff, the next task of its key is claimed');
select is(underway_test.parked(), '', 'a reclaimed task is not parked');
select underway_test.done('a2 1');
select underway_test.advance_clock('1 hour');
select is(underway_test.claimed(), 'a1', 'a reclaimed task is claimed again after its backoff');

-- permanently

select underway.fail(t.id, t.lease, '"x"', retryable => false) from underway.task t;
select underway_test.keyed_tasks('a2 b1 1');
select is(underway_test.claimed_later(1), 'a2', 'the next task of a key is claimed after one has failed permanently');
select underway.retry(h.id) from underway.task_history h where h.input = '"a1"' and h.state = 'failed';
select is(underway_test.claimed_later(), 'b1 1', 'a retried task is not claimed while its key is full');
select is(underway_test.parked(), 'a1', 'a retried task whose key is full is parked');
select underway_test.done('a2 b1 1');
select is(underway_test.claimed_later(), 'a1', 'a retried task is claimed when its key is free');
select underway_test.done('a1');
select is(underway_test.claimed_later(), '', 'no task is left to claim');
select is_empty('select from underway.task', 'no task stays behind');

select * from finish();
rollback;
