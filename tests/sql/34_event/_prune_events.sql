begin;
select plan(4);

select underway_test.stop_clock('2030-01-01');
select underway._record_event('worker_lost') from generate_series(1, 3);
select underway.record_action('ann', 'cli', 'cancel') from generate_series(1, 2);
select underway_test.stop_clock('2030-01-05');
select underway._record_event('queue_blocked');
select underway.record_action('ann', 'cli', 'retry');

select underway_test.stop_clock('2030-01-09');
select is(underway._prune_events(2), 2, 'a call removes at most so many events');
select is(underway._prune_events(), 1, 'the next call removes the rest');
select results_eq(
    'select kind from underway.event', $$ values ('queue_blocked') $$, 'events are kept for seven days'
);

select underway_test.stop_clock('2030-04-03');
select underway._prune_events();
select results_eq(
    'select action from underway.audit', $$ values ('retry') $$, 'actions are kept for ninety days'
);

select * from finish();
rollback;
