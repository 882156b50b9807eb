begin;
select plan(9);

select is(
    underway._error_pattern('no row 12 of "a b", not 3.5 or 0xff or 550e8400-e29b-41d4-a716-446655440000'), 'no row * of *, not * or * or *',
    'numbers, quoted values and ids are replaced'
);
select is(underway._error_pattern('cafe added'), 'cafe added', 'words are not numbers');
select is(underway._error_pattern(null), null, 'there may be no message');

select underway_test.stop_clock();
select underway._record_event('task_failed', 'old', 'send', 1, '{"type": "E", "message": "too old"}');
select underway_test.advance_clock('1 day');
select underway._record_event('attempt_failed', 'email', 'send', task, jsonb_build_object('type', 'E', 'message', 'no user ' || task))
from generate_series(1, 3) as task;
select underway._record_event('task_failed', 'email', 'send', 3, '{"type": "E", "message": "no user 77"}');
select underway._record_event('task_failed', 'email', null, 4, '{"message": "other"}');
select underway._record_event('queue_blocked', 'email');

select results_eq(
    $$ select queue, job, error_type, message, failures, failed_permanently, tasks, last_task from underway.failure_groups('2030-01-02') $$,
    $$ values
        ('email', 'send', 'E', 'no user *', 4::bigint, 1::bigint, 3::bigint, 3::bigint), ('email', null, null, 'other', 1, 1, 1, 4) $$,
    'failures with the same error are one group, the most frequent first'
);
select results_eq(
    $$ select first_at, last_at from underway.failure_groups('2030-01-02') limit 1 $$,
    $$ values ('2030-01-02 12:00:00+00'::timestamptz, '2030-01-02 12:00:00+00'::timestamptz) $$,
    'a group has the times of its first and last failure'
);
select is((select count(*) from underway.failure_groups('-infinity')), 3::bigint, 'older failures can be asked for');
select is((select count(*) from underway.failure_groups('-infinity', 'old')), 1::bigint, 'one queue can be asked for');
select is((select sum(failures) from underway.failure_groups('-infinity', max_read => 3)), 2::numeric, 'only the newest events are read');
select is_empty($$ select underway.failure_groups(null) $$, 'without a time there are none');

select * from finish();
rollback;
