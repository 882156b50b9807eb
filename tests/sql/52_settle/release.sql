-- the holder gives a task back that it will not run

begin;
select plan(11);

select underway_test.stop_clock();

create temp table held as select * from underway_test.held_task(attempt => 3);
create temp table before as select t.* from underway.task t join held on held.id = t.id;
select underway_test.advance_clock('5 seconds');

select lives_ok($$ select underway.release(held.id, held.lease) from held $$, 'the holder of a lease can release its task');

select is(
    (select to_jsonb(t) - 'worker' from underway.task t join held on held.id = t.id),
    (
        select to_jsonb(before) - 'worker' || jsonb_build_object(
            'state', 'pending', 'attempt', 2, 'started_at', null,
            'lease', null, 'lease_expires_at', null
        )
        from before
    ),
    'a released task is pending at its old place, without the attempt, and otherwise unchanged'
);

select results_eq(
    $$ select claimed.id, claimed.attempt from underway.dequeue('email') as claimed $$,
    $$ select held.id, 3 from held $$,
    'a released task can be claimed at once, as the same attempt'
);

select throws_ok(
    $$ select underway.release(held.id, held.lease) from held $$,
    'UW002', format('task %s is not held under lease %s; it is in_progress', held.id, held.lease),
    'the former holder of a released task cannot release it again'
)
from held;

select is(underway_test.state_of(held.id), 'in_progress', 'a refused release leaves the lease of the next holder') from held;

-- errors of earlier attempts

create temp table tried as select * from underway_test.held_task('other');
select underway.fail(tried.id, tried.lease, '"first"', retry_after => '0') from tried;
create temp table again as select * from underway.dequeue('other');
select underway.release(again.id, again.lease) from again;

select is(
    i.errors #>> '{0,message}', 'first', 'a released task keeps the errors of earlier attempts'
)
from tried, underway.task_info(tried.id) i;

select is(jsonb_array_length(i.errors), 1, 'a release adds no error') from tried, underway.task_info(tried.id) i;

-- any number of times

create function pg_temp.claim_and_release(times integer) returns integer language plpgsql as $$
declare
    v_claimed underway.claimed_task;
begin
    for v_time in 1..claim_and_release.times loop
        select claimed.* into strict v_claimed from underway.dequeue('other') as claimed;
        perform underway.release(v_claimed.id, v_claimed.lease);
    end loop;
    return v_claimed.attempt;
end;
$$;

select is(pg_temp.claim_and_release(50), 2, 'a task can be released any number of times');

-- refusals

create temp table other as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.release(other.id, gen_random_uuid()) from other $$, 'UW002', null, 'a wrong lease is refused'
);

select throws_ok(
    $$ select underway.release(other.id, null) from other $$, 'UW001', format('the lease of task %s is null', other.id),
    'a lease that is null is refused'
)
from other;

select is(underway_test.state_of(other.id), 'in_progress', 'a refused release leaves the task running') from other;

select * from finish();
rollback;
