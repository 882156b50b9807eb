begin;
select plan(19);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is(
    underway._run_chores() - 'to_vacuum', '{"scheduled": 0, "reclaimed": 0, "expired": 0, "pruned": 0, "forgotten_workers": 0}',
    'the chores return what was done, zero each when there was nothing to do'
);

-- lapsed leases

create temporary table held on commit drop as
select given.fate, held.id
from (values ('retried', 1), ('given up', 5)) as given (fate, attempt)
cross join lateral underway_test.held_task('email', given.attempt) held;

select underway_test.advance_clock('29 seconds');

select is(underway._run_chores() ->> 'reclaimed', '0', 'a lease that has not lapsed is not reclaimed');

select underway_test.advance_clock('1 second');

select is(underway._run_chores() ->> 'reclaimed', '2', 'lapsed leases are reclaimed and counted');

select results_eq(
    'select fate, underway_test.state_of(id) from held order by fate',
    $$ values ('given up', 'failed'), ('retried', 'pending') $$,
    'a lapsed task waits for its next attempt, or has failed when that was the last'
);

select is(underway._run_chores() ->> 'reclaimed', '0', 'a reclaimed task is not reclaimed again');

-- the history

select underway.create_queue('day', retention => '1 day');
select underway.create_queue('year', retention => '1 year');

create temporary table finished on commit drop as
select queue, underway_test.finished_task('succeeded', queue) as id
from unnest('{day, email, year}'::text[]) as queue;

select underway_test.advance_clock('3 days');

select is(
    underway._run_chores() - 'to_vacuum', '{"scheduled": 0, "reclaimed": 0, "expired": 0, "pruned": 0, "forgotten_workers": 0}',
    'a day of the history that has expired is emptied as a whole, without a count'
);

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', 'succeeded'), ('year', 'succeeded') $$,
    'a task is removed from the history after its retention'
);

select underway_test.advance_clock('10 days');
select underway._run_chores();

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', 'succeeded'), ('year', 'succeeded') $$,
    'a task is kept in the history for its whole retention'
);

select underway_test.advance_clock('3 days');
select underway._run_chores();

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', null), ('year', 'succeeded') $$,
    'each task expires by the retention of its own queue'
);

select underway_test.stop_clock('2031-01-01 12:00:29+00');
select underway._run_chores();

select is(
    (select underway_test.state_of(id) from finished where queue = 'year'), 'succeeded',
    'a task with a long retention is kept to its last second'
);

select underway_test.advance_clock('1 second');

select is(underway._run_chores() ->> 'pruned', '1', 'an expired task with a long retention is pruned and counted');

select is(
    (select underway_test.state_of(id) from finished where queue = 'year'), null,
    'a pruned task is no longer in the history'
);

-- live tasks

select results_eq(
    'select fate, underway_test.state_of(id) from held order by fate',
    $$ values ('given up', null), ('retried', 'pending') $$,
    'unfinished work never expires'
);

-- schedules

select underway.schedule(name, 'email', '*/20 * * * * *') from unnest('{one, other}'::text[]) as name;
select is(underway._run_chores() ->> 'scheduled', '0', 'a schedule that is not due enqueues no task');
select underway_test.advance_clock('20 seconds');
select is(underway._run_chores() ->> 'scheduled', '2', 'schedules that are due enqueue their tasks, and these are counted');
select is(underway._run_chores() ->> 'scheduled', '0', 'each time of a schedule gives one task');

-- batches

insert into underway.batch_to_reevaluate (batch) values (987654321);
insert into underway.batch (id, created_at, final_at, expires_at, retention, implicit)
overriding system value
values (987654321, underway._clock(), underway._clock(), underway._clock(), '0', false);
select underway_test.advance_clock('1 second');
select underway._run_chores();
select is_empty('select from underway.batch_to_reevaluate', 'batches that two sessions settled at once are reevaluated');
select is_empty('select from underway.batch where id = 987654321', 'expired batches are removed');

-- callers

select lives_ok(
    'select underway.maintain(null), underway.maintain(-1)',
    'maintain can be called without a worker, and with one that is unknown'
);

select * from finish();
rollback;
