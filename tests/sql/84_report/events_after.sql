begin;
select plan(6);

select underway._record_event(kind) from unnest('{worker_lost,queue_blocked,worker_lost}'::text[]) as kind;
create temporary table first on commit drop as select min(id) as id from underway.event;

select results_eq(
    'select kind from underway.events_after(0)', $$ values ('worker_lost'), ('queue_blocked'), ('worker_lost') $$,
    'the oldest event comes first'
);
select results_eq(
    'select e.kind from first f, underway.events_after(f.id) e', $$ values ('queue_blocked'), ('worker_lost') $$,
    'only events with higher ids are returned'
);
select results_eq(
    $$ select kind from underway.events_after(0, '{queue_blocked}') $$, $$ values ('queue_blocked') $$, 'kinds can be chosen'
);
select is_empty('select from underway.events_after()', 'without an id nothing is returned');
select is((select count(*) from underway.events_after(0, max_events => 2)), 2::bigint, 'at most so many are returned');
select throws_ok('select underway.events_after(0, max_events => 0)', 'UW001', null, 'max_events is at least 1');

select * from finish();
rollback;
