-- tasks, errors and times of the largest and the oddest values that the tables take

begin;
select plan(20);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.enqueue('email', ('[' || repeat('[', 5000) || repeat(']', 5000) || ']')::jsonb);
select underway.enqueue('email', repeat('9', 5000)::jsonb, headers => '{"n": 1e100000}', concurrency_key => repeat('k', 500));
select underway.enqueue('email', to_jsonb(repeat('x', 500000)), run_at => underway._clock() + interval '100 years');
select underway.enqueue('email', '"<script>alert(1)</script> \u202e \ud83d\ude00"');
select underway_test.finished_task('failed', 'email') from generate_series(1, 3);
update underway.task_history set errors = '"text"' where id = (select min(id) from underway.task_history);
update underway.task_history set errors = '[null, 7, [], {"type": {"a": 1}, "message": [2]}]' where id = (select max(id) from underway.task_history);
update underway.task_history set enqueued_at = '-infinity', started_at = 'infinity', finished_at = 'infinity'
where id = (select max(id) from underway.task_history);
select underway._record_event('task_failed', 'email', null, 9223372036854775807, '{"type": null, "message": {"a": [1]}}');
select underway._record_event('attempt_failed', null, null, null, '[]');
create temporary table last on commit drop as select underway.enqueue('email') as id;
update underway.task set id = 9223372036854775800 where id = (select id from last);

create function pg_temp.lives(statement text)
returns text
language sql
as $$ select lives_ok(lives.statement, lives.statement) $$;

select pg_temp.lives(format('select underway.find_tasks(%L)', filter))
from unnest(array[
    '{}', '{"error": "a"}', '{"error": ""}', '{"error": "\\"}', '{"input": "$.**"}', '{"input": "$ like_regex \"x\""}',
    '{"input": "$.a.b[last].keyvalue()"}', '{"key": ""}', '{"ids": []}', '{"ids": [9223372036854775807, -9223372036854775808]}',
    '{"enqueued_after": "-infinity", "enqueued_before": "infinity"}', '{"enqueued_before": "4713-01-02 BC"}',
    '{"enqueued_after": "294275-01-01"}', '{"worker": -1, "dead_letter": false}'
]) as filter;

select is(
    (select count from underway.count_tasks('{"enqueued_before": "-infinity"}')), 0::bigint, 'no task is older than any time'
);
select is((select cardinality(tasks) from underway.find_tasks()), 8, 'the task with the largest id is found with the others');
select pg_temp.lives($$ select underway.failure_groups('-infinity') $$);
select pg_temp.lives($$ select underway.task_dependencies(id) from underway.task_list $$);
select lives_ok('select underway_test.count_statistics()', 'all of it is counted');
select is(underway._keep_statistics(), null, 'without an error');

select * from finish();
rollback;
