begin;
select plan(1);

select underway.record_action('ann', 'cli', 'retry', '{"tasks": [1]}');
select results_eq(
    'select actor, source, action, details from underway.audit_list',
    $$ values ('ann', 'cli', 'retry', '{"tasks": [1]}'::jsonb) $$, 'recorded actions are listed'
);

select * from finish();
rollback;
