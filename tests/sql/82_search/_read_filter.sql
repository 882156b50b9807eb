begin;
select plan(21);

select is(underway._read_filter('{}')::text, '(,,,,,,,,,,,,)', 'an empty filter asks for nothing');
select is(underway._read_filter(null)::text, '(,,,,,,,,,,,,)', 'no filter is an empty one');
select is((underway._read_filter('{"state": ["failed", "pending"]}')).states, '{failed,pending}', 'states are a list');
select is((underway._read_filter('{"queue": "email"}')).queues, '{email}', 'one queue may be given as a text');
select is((underway._read_filter('{"job": null}')).jobs, null, 'null is not given');
select is((underway._read_filter('{"ids": [1, 9223372036854775807]}')).ids, '{1,9223372036854775807}', 'ids are numbers');
select is((underway._read_filter('{"worker": 5}')).worker, 5::bigint, 'a worker is a number');
select is((underway._read_filter('{"dead_letter": true}')).dead_letter, true, 'dead_letter is true or false');
select is(
    (underway._read_filter('{"enqueued_after": "2030-01-01T12:00:00Z"}')).enqueued_after, '2030-01-01 12:00:00+00',
    'times are texts'
);
select is((underway._read_filter('{"input": "$.a ? (@ == 7)"}')).input::text, '$."a"?(@ == 7)', 'a path is read');

create function pg_temp.is_refused(filter jsonb, message text, description text)
returns text
language sql
as $$ select throws_ok(format('select underway._read_filter(%L)', filter), 'UW001', is_refused.message, is_refused.description) $$;

select pg_temp.is_refused('[]', 'the filter is []', 'a filter is an object');
select pg_temp.is_refused('{"queues": []}', 'a filter has no key ''queues''', 'an unknown key is refused');
select pg_temp.is_refused(
    '{"state": ["done"]}', '''state'' of the filter is ["done"]: invalid input value for enum underway.task_state: "done"',
    'an unknown state is refused'
);
select pg_temp.is_refused('{"queue": {"a": 1}}', '''queue'' of the filter is {"a": 1}', 'a list is no object');
select pg_temp.is_refused('{"queue": [[1]]}', '''queue'' of the filter is [[1]]', 'a list has no lists');
select pg_temp.is_refused(
    '{"worker": "x"}', '''worker'' of the filter is "x": invalid input syntax for type bigint: "x"', 'a worker has to be a number'
);
select throws_like(
    $$ select underway._read_filter('{"input": "$.a ??"}') $$, '''input'' of the filter is "$.a ??": %',
    'a path that cannot be read is refused, with the reason'
);
select throws_like(
    $$ select underway._read_filter('{"finished_before": "tomorrow-ish"}') $$, '''finished_before'' of the filter is "tomorrow-ish": %',
    'a time that cannot be read is refused'
);
select lives_ok(
    $$ select underway._read_filter(jsonb_build_object('input', '$' || repeat('.a', 999) || 'b')) $$, 'a path may have 2000 characters'
);
select throws_like(
    $$ select underway._read_filter(jsonb_build_object('input', '$' || repeat('.a', 1000))) $$,
    'input of the filter is a path of 2001 characters, which begins with %.a.a.%', 'and no more'
);
select throws_ok(
    $$ select underway._read_filter('{"ids": [99999999999999999999]}') $$, 'UW001', null, 'an id that no task can have is refused'
);

select * from finish();
rollback;
