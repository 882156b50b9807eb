-- the errors of a task come back from the history with it

begin;
select plan(4);

select underway_test.stop_clock();

-- a task that failed twice, for good the second time

create temp table held as select * from underway_test.held_task();
select underway.fail(held.id, held.lease, '{"type": "Timeout", "message": "first"}', retry_after => '1 minute') from held;
select underway_test.advance_clock('1 minute');
create temp table again as select claimed.id, claimed.lease from underway.dequeue('email') claimed;
select underway_test.advance_clock('1 second');
select underway.fail(again.id, again.lease, '"second"', retryable => false) from again;

create temp table kept as select h.id, h.errors from underway.task_history h join held on held.id = h.id;

select underway._restore_errors(array[held.id]) from held;

select results_eq(
    $$ select a.attempt, a.failed_at, a.error ->> 'message' from underway.attempt a join held on held.id = a.task order by a.failed_at $$,
    $$ values (1, '2030-01-01 12:00:00+00'::timestamptz, 'first'), (2, '2030-01-01 12:01:01+00', 'second') $$,
    'each error is back with its attempt and its time'
);

select is(
    (select jsonb_agg(a.error order by a.failed_at) from underway.attempt a join held on held.id = a.task), kept.errors,
    'each error is back as it was'
)
from kept;

-- others

create temp table other as
select 'cancelled' as state, underway_test.finished_task('cancelled') as id
union all
select 'succeeded', underway_test.finished_task('succeeded')
union all
select 'failed', underway_test.finished_task('failed');

update underway.task_history h
set errors = '[{"message": "old", "attempt": 1, "failed_at": "2030-01-01T12:00:00+00:00"}]'
where h.id in (select other.id from other where other.state in ('cancelled', 'succeeded'));

update underway.task_history h set errors = null where h.id in (select other.id from other where other.state = 'failed');

delete from underway.attempt;
select underway._restore_errors(array(select other.id from other) || 987654321);

select results_eq(
    $$ select other.state from underway.attempt a join other on other.id = a.task $$,
    array['cancelled'],
    'the errors of a cancelled task come back; a succeeded task does not, and one without errors has none'
);

select lives_ok('select underway._restore_errors(null)', 'nothing is recalled of nothing');

select * from finish();
rollback;
