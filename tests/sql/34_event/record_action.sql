begin;
select plan(5);

select underway_test.stop_clock();
select isnt(underway.record_action('ann', 'dashboard', 'cancel', '{"tasks": [1, 2]}'), null, 'the record has an id');
select results_eq(
    'select at, actor, role = session_user, source, action, details from underway.audit',
    $$ values ('2030-01-01 12:00:00+00'::timestamptz, 'ann', true, 'dashboard', 'cancel', '{"tasks": [1, 2]}'::jsonb) $$,
    'an action is recorded with the login role of the session'
);

select underway.record_action(null, 'cli', 'retry', null);
select results_eq(
    'select actor, details from underway.audit order by id desc limit 1', $$ values ('', '{}'::jsonb) $$,
    'the actor may be unknown'
);
select throws_ok($$ select underway.record_action('ann', '', 'retry') $$, 'UW001', null, 'an action has a source');
select throws_ok($$ select underway.record_action('ann', 'cli', null) $$, 'UW001', null, 'an action has a name');

select * from finish();
rollback;
