begin;
select plan(38);

select underway_test.stop_clock();
create temporary table named (name text, id bigint) on commit drop;

create function pg_temp.named(name text, id bigint)
returns void
language sql
as $$ insert into named values (named.name, named.id) $$;

-- The names of the tasks that are found.
create function pg_temp.found(filter jsonb, max_tasks integer default 50)
returns text
language sql
as $$
    select coalesce(string_agg(n.name, ' ' order by f.place), '')
    from underway.find_tasks(found.filter, max_tasks => found.max_tasks)
    cross join unnest(tasks) with ordinality as f (id, place)
    join named n on n.id = f.id
$$;

select results_eq(
    'select * from underway.find_tasks()', $$ values ('{}'::bigint[], null::bigint) $$, 'without tasks nothing is found'
);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
create temporary table worker on commit drop as select underway.register_worker('host-1', '{email}') as id;

select pg_temp.named('failed', underway_test.finished_task('failed', 'email'));
select pg_temp.named('letter', id) from underway.task where queue = 'dead';
select underway_test.advance_clock('1 hour');
select pg_temp.named('succeeded', underway_test.finished_task('succeeded', 'email'));
select pg_temp.named('cancelled', underway_test.finished_task('cancelled', 'other'));
select underway_test.advance_clock('1 hour');
select pg_temp.named('running', id) from (
    select underway.enqueue('email', '{"n": 7, "tags": ["a", "b"]}', job => 'report', priority => 100) as id
) e;
select from worker w, underway.dequeue('email', 1, w.id);
select pg_temp.named('waiting', underway.enqueue('email', '{"n": 8}', after => array[(select id from named where name = 'running')]));
select pg_temp.named('keyed', underway.enqueue('email', '{"n": 9}', concurrency_key => 'c', delay => '1 day'));
select pg_temp.named('unique', underway.enqueue('other', 'null', unique_key => 'u'));

select is(pg_temp.found('{}'), 'unique keyed waiting running cancelled succeeded letter failed', 'the newest task comes first');
select is(pg_temp.found('{"state": ["failed"]}'), 'failed', 'failed tasks are found');
select is(pg_temp.found('{"state": ["failed", "cancelled"]}'), 'cancelled failed', 'tasks in one of several states are found');
select is(pg_temp.found('{"state": ["succeeded"]}'), 'succeeded', 'succeeded tasks are found');
select is(pg_temp.found('{"state": ["pending", "failed"]}'), 'unique keyed letter failed', 'live and finished states may be mixed');
select is(pg_temp.found('{"state": ["in_progress"]}'), 'running', 'running tasks are found');
select is(pg_temp.found('{"state": ["waiting"]}'), 'waiting', 'waiting tasks are found');
select is(pg_temp.found('{"state": []}'), '', 'no state is the state of no task');
select is(pg_temp.found('{"queue": ["other"]}'), 'unique cancelled', 'tasks of a queue are found');
select is(pg_temp.found('{"queue": ["other", "dead"]}'), 'unique cancelled letter', 'tasks of several queues are found');
select is(pg_temp.found('{"state": ["failed", "cancelled"], "queue": ["other"]}'), 'cancelled', 'unsuccessful tasks of a queue are found');
select is(pg_temp.found('{"job": ["report"]}'), 'running', 'tasks of a job are found');
select is(pg_temp.found('{"key": "c"}'), 'keyed', 'tasks with a concurrency key are found');
select is(pg_temp.found('{"key": "u"}'), 'unique', 'tasks with a unique key are found');
select is(pg_temp.found(jsonb_build_object('worker', id)), 'running', 'tasks of a worker are found') from worker;
select is(pg_temp.found(jsonb_build_object('worker', id, 'state', '["in_progress"]'::jsonb)), 'running', 'running tasks of a worker are found') from worker;
select is(pg_temp.found('{"dead_letter": true}'), 'letter', 'dead letters are found');
select is(pg_temp.found('{"dead_letter": true, "state": ["pending"]}'), 'letter', 'live dead letters are found');
select is(pg_temp.found('{"dead_letter": false, "queue": ["dead"]}'), '', 'dead letters can be left out');
select is(pg_temp.found('{"error": "REFUSED"}'), 'failed', 'a part of an error is found, in any case');
select is(pg_temp.found('{"error": "%"}'), '', 'a percent sign is no pattern');
select is(pg_temp.found('{"input": "$.n ? (@ >= 8)"}'), 'keyed waiting', 'a path that finds something is found');
select is(pg_temp.found('{"input": "$.n == 7"}'), 'running', 'a path that is true is found');
select is(pg_temp.found('{"input": "$.tags[*] ? (@ == \"b\")"}'), 'running', 'a path finds elements of arrays');
select is(pg_temp.found('{"input": "strict $.n.x"}'), '', 'an error of a path is no match');
select is(pg_temp.found('{"enqueued_after": "2030-01-01T14:00:00Z"}'), 'unique keyed waiting running', 'tasks since a time are found');
select is(pg_temp.found('{"enqueued_before": "2030-01-01T13:00:00Z"}'), 'letter failed', 'tasks before a time are found');
select is(
    pg_temp.found('{"finished_after": "2030-01-01T12:30:00Z", "finished_before": "2030-01-01T13:30:00Z"}'), 'cancelled succeeded',
    'tasks that finished in a time are found'
);
select is(pg_temp.found(jsonb_build_object('ids', array[min(id), max(id), 0])), 'unique failed', 'tasks are found by their ids') from named;
select is(
    pg_temp.found(jsonb_build_object('ids', array[min(id), max(id)], 'state', '["failed"]'::jsonb)), 'failed', 'ids can be filtered'
) from named;
select is(pg_temp.found('{"enqueued_after": "-infinity", "finished_before": "infinity", "state": ["failed"]}'), 'failed', 'times may be infinite');

-- pages

create temporary table page on commit drop as select * from underway.find_tasks(max_tasks => 3);
select is(cardinality(tasks), 3, 'a page has as many tasks as were asked for') from page;
select is(
    (select array_agg(id order by id desc) from named), p.tasks || n.tasks, 'the next page goes on where the first has ended'
)
from page p cross join lateral underway.find_tasks(before => p.next_before) n;

select results_eq(
    $$ select tasks, next_before from underway.find_tasks('{"state": ["succeeded"]}', max_read => 1) $$,
    $$ select '{}'::bigint[], id from named where name = 'cancelled' $$,
    'a search in final states reads the history only, and ends after max_read tasks'
);
select results_eq(
    $$ select tasks, next_before from underway.find_tasks('{"job": ["nothing"]}', max_read => 2) $$,
    $$ select '{}'::bigint[], id from named where name = 'keyed' $$,
    'a search that finds nothing says where to go on'
);

select throws_ok('select underway.find_tasks(max_tasks => 0)', 'UW001', null, 'max_tasks is at least 1');
select throws_ok('select underway.find_tasks(max_read => null)', 'UW001', null, 'max_read is a number');

select * from finish();
rollback;
