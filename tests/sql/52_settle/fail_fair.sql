-- what is tried again in a fair queue has the turn of its key

begin;
select plan(12);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);

-- The task of this name runs, and is put back.
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
select underway_test.claimed();
select pg_temp.back('a1', 'fail'), pg_temp.back('b1', 'snooze');
select is(underway_test.claimed(), 'a2 b2', 'while a task waits for its next attempt, its key goes on');
select is(underway_test.parked(), '', 'a task that waits for its retry is not parked');
select underway_test.done('a2 b2');
select underway_test.keyed_tasks('c1');
select underway_test.advance_clock('1 minute');
select is(underway_test.served(3), 'a1 b1 c1', 'retries that are due are served in the turn of their keys');

-- at once

select underway_test.keyed_tasks('a1 a2 1');
select underway_test.claimed();
select pg_temp.back('a1', 'release'), pg_temp.back('1', 'release');
select is(underway_test.claimed(), 'a1 1', 'a task that was given back is claimed again, before what came later');
select pg_temp.back('a1', 'lapse');
select is(underway_test.claimed(), 'a2', 'one whose holder is gone waits for its backoff');
select is(underway_test.parked(), '', 'a task that waits for its retry delays no other');
select underway_test.done('a2 1');
select underway_test.advance_clock('1 hour');
select is(underway_test.claimed(), 'a1', 'then it is tried again');

-- for good

select underway.fail(t.id, t.lease, '"x"', retryable => false) from underway.task t;
select underway_test.keyed_tasks('a2 b1 1');
select is(underway_test.claimed(1), 'a2', 'a task that has failed for good is out of the way');
select underway.retry(h.id) from underway.task_history h where h.input = '"a1"' and h.state = 'failed';
select is(underway_test.claimed(), 'b1 1', 'one that is retried waits for its key');
select is(underway_test.parked(), 'a1', 'a retry that is due is claimed');
select underway_test.done('a2 b1 1');
select is(underway_test.claimed(), 'a1', 'a retry waits until its key is free');
select underway_test.done('a1');
select is(underway_test.line(), 'a', 'the key is noted once more');

select * from finish();
rollback;
