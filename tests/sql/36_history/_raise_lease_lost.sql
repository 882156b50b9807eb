-- fencing: whoever does not hold a task any more changes nothing

begin;
select plan(81);

create function pg_temp.everything() returns jsonb language sql as $$
    select jsonb_build_array(
        (select jsonb_agg(to_jsonb(t) order by t.id) from underway.task t),
        (select jsonb_agg(to_jsonb(h) order by h.id) from underway.task_history h)
    )
$$;

select underway_test.stop_clock();

create temp table lost (situation text, id bigint, lease uuid, state text);

-- the lease lapsed

insert into lost
select 'a task that was reclaimed', held.id, held.lease, 'pending' from underway_test.held_task('slow') held;

insert into lost
select 'a task that was reclaimed and claimed by another', held.id, held.lease, 'in_progress'
from underway_test.held_task('stolen') held;

insert into lost
select 'a task that was reclaimed in its last attempt', held.id, held.lease, 'failed'
from underway_test.held_task('slow', attempt => 5) held;

select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);
select underway_test.advance_clock('1 hour');
select from underway.dequeue('stolen');

-- the holder or somebody else ended it

insert into lost
select 'a task that was completed', held.id, held.lease, 'succeeded' from underway_test.held_task() held;

insert into lost
select 'a task that failed for good', held.id, held.lease, 'failed' from underway_test.held_task() held;

insert into lost
select 'a task that was cancelled', held.id, held.lease, 'cancelled' from underway_test.held_task() held;

select underway.complete(lost.id, lost.lease) from lost where lost.state = 'succeeded';
select underway.fail(lost.id, lost.lease, '"no"', retryable => false)
from lost
where lost.situation = 'a task that failed for good';
select underway.cancel(lost.id) from lost where lost.state = 'cancelled';

-- the holder gave it back

insert into lost
select 'a task that was snoozed', held.id, held.lease, 'pending' from underway_test.held_task() held;

select underway.snooze(lost.id, lost.lease, '1 hour') from lost where lost.situation = 'a task that was snoozed';

insert into lost
select 'a task that was released', held.id, held.lease, 'pending' from underway_test.held_task('given_back') held;

select underway.release(lost.id, lost.lease) from lost where lost.situation = 'a task that was released';

-- it never was the holder's

create temp table held as select * from underway_test.held_task();
create temp table other as select * from underway_test.held_task();

insert into lost
select 'a task that is held, under a lease that nobody has', held.id, gen_random_uuid(), 'in_progress' from held;

insert into lost
select 'a task that is held, under the lease of another task', held.id, other.lease, 'in_progress' from held, other;

insert into lost
select 'a task that nobody claimed', underway_test.ready_task('untouched'), held.lease, 'pending' from held;

insert into lost
select 'a task that does not exist', 987654321, held.lease, 'unknown' from held;

create temp table before as select pg_temp.everything();

create temp table call (name text, statement text);

insert into call
values
    ('complete', 'select underway.complete(%s, %L)'),
    ('fail', 'select underway.fail(%s, %L, ''"late"'')'),
    ('a fatal fail', 'select underway.fail(%s, %L, ''"late"'', retryable => false)'),
    ('snooze', 'select underway.snooze(%s, %L, ''1 minute'')'),
    ('release', 'select underway.release(%s, %L)'),
    ('report_progress', 'select underway.report_progress(%s, %L, ''1'')');

select throws_ok(
    format(call.statement, lost.id, lost.lease),
    'UW002', format('task %s is not held under lease %s; it is %s', lost.id, lost.lease, lost.state),
    format('%s is refused for %s', call.name, lost.situation)
)
from call, lost;

-- null fits nothing

select throws_ok(
    format(call.statement, lost.id, null),
    case when call.name in ('snooze', 'report_progress') then 'UW002' else 'UW001' end, null,
    format('%s is refused for a pending task under a null lease', call.name)
)
from call, lost
where lost.situation = 'a task that nobody claimed';

select is(
    underway_test.hint_of('select underway.complete(987654321, gen_random_uuid())'),
    'The lease lapsed, or the task was settled or cancelled; drop this result.',
    'the hint tells the holder to drop its result'
);

select is(pg_temp.everything(), before.everything, 'a refused call changes nothing') from before;

select lives_ok(
    $$ select underway.complete(held.id, held.lease) from held $$,
    'the current holder is not refused'
);

select * from finish();
rollback;
