begin;
select plan(17);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is(
    underway._run_chores(), '{"scheduled": 0, "reclaimed": 0, "pruned": 0, "forgotten_workers": 0}',
    'where there is nothing to do, it says so'
);

-- lapsed leases

create temporary table held on commit drop as
select given.fate, held.id
from (values ('retried', 1), ('given up', 5)) as given (fate, attempt)
cross join lateral underway_test.held_task('email', given.attempt) held;

select underway_test.advance_clock('29 seconds');

select is(underway._run_chores() ->> 'reclaimed', '0', 'a lease that has not lapsed is left alone');

select underway_test.advance_clock('1 second');

select is(underway._run_chores() ->> 'reclaimed', '2', 'lapsed leases are reclaimed and counted');

select results_eq(
    'select fate, underway_test.state_of(id) from held order by fate',
    $$ values ('given up', 'failed'), ('retried', 'pending') $$,
    'a lapsed task waits for its next attempt, or has failed when that was the last'
);

select is(underway._run_chores() ->> 'reclaimed', '0', 'what was reclaimed is not reclaimed again');

-- the history

select underway.create_queue('day', retention => '1 day');
select underway.create_queue('year', retention => '1 year');

create temporary table finished on commit drop as
select queue, underway_test.finished_task('succeeded', queue) as id
from unnest('{day, email, year}'::text[]) as queue;

select underway_test.advance_clock('3 days');

select is(
    underway._run_chores(), '{"scheduled": 0, "reclaimed": 0, "pruned": 0, "forgotten_workers": 0}',
    'the expired day is emptied as a whole, without a count'
);

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', 'succeeded'), ('year', 'succeeded') $$,
    'a task is gone from the history after its time to live'
);

select underway_test.advance_clock('10 days');
select underway._run_chores();

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', 'succeeded'), ('year', 'succeeded') $$,
    'a task is kept for all of its time to live'
);

select underway_test.advance_clock('3 days');
select underway._run_chores();

select results_eq(
    'select queue, underway_test.state_of(id) from finished order by queue',
    $$ values ('day', null), ('email', null), ('year', 'succeeded') $$,
    'each task expires by its own queue'
);

select underway_test.stop_clock('2031-01-01 12:00:29+00');
select underway._run_chores();

select is(
    (select underway_test.state_of(id) from finished where queue = 'year'), 'succeeded',
    'a task with a long time to live is kept to its last second'
);

select underway_test.advance_clock('1 second');

select is(underway._run_chores() ->> 'pruned', '1', 'an expired task with a long time to live is pruned and counted');

select is(
    (select underway_test.state_of(id) from finished where queue = 'year'), null,
    'a pruned task is gone'
);

-- live tasks

select results_eq(
    'select fate, underway_test.state_of(id) from held order by fate',
    $$ values ('given up', null), ('retried', 'pending') $$,
    'unfinished work never expires'
);

-- schedules

select underway.schedule(name, 'email', '*/20 * * * * *') from unnest('{one, other}'::text[]) as name;
select is(underway._run_chores() ->> 'scheduled', '0', 'a schedule whose time has not come enqueues nothing');
select underway_test.advance_clock('20 seconds');
select is(underway._run_chores() ->> 'scheduled', '2', 'schedules that are due enqueue their tasks, which are counted');
select is(underway._run_chores() ->> 'scheduled', '0', 'each time gives one task');

-- callers

select lives_ok(
    'select underway.maintain(null), underway.maintain(-1)',
    'anybody may call it: without an id, or with one that is unknown'
);

select * from finish();
rollback;
