begin;
select plan(9);

select underway_test.stop_clock('2026-01-01 10:00:00Z');
select underway.create_queue('email');
select underway.enqueue_many('email', array['1', '2', '3', '4', '5']::jsonb[]);
select underway_test.advance_clock('1 second');
select underway.enqueue_many('email', array['6', '7', '8', '9', '10']::jsonb[]);
select underway.enqueue('email', '11', delay => '1 second');
select underway.enqueue('email', '12', priority => 1);

-- A front outlives a rollback: this lane may have got one that another test has moved.
select setval('underway.front_at_' || to_char(l.front, 'FM00'), -9223372036854775808, false),
    setval('underway.front_id_' || to_char(l.front, 'FM00'), -9223372036854775808, false)
from underway.queue_priority l;

create function pg_temp.lane() returns underway.queue_priority language sql as $$
    select l from underway.queue_priority l where l.priority = 0
$$;

-- The inputs of the tasks that were locked.
create function pg_temp.locked(max_tasks integer, floor timestamptz default '-infinity') returns text language sql as $$
    with locked as (
        select underway._lock_stretch(pg_temp.lane(), locked.floor, underway._clock(), locked.max_tasks) as rows
    )
    select string_agg(t.input::text, ' ' order by t.id) from locked, underway.task t where t.ctid = any (locked.rows)
$$;

select is((underway._front((pg_temp.lane()).front)).ready_at, null, 'nobody has drawn from a new lane');
select is(pg_temp.locked(3), '1 2 3', 'the first stretch begins at the head');
select is(pg_temp.locked(4), '4 5 6 7', 'the next begins where it ends, within a batch of one time');
select is(
    (underway._front((pg_temp.lane()).front)).ready_at, '2026-01-01 10:00:01Z'::timestamptz,
    'the front is the last task that was drawn'
);
select is(pg_temp.locked(4), '8 9 10', 'at the end there are fewer, and none that is not due or of another priority');
select is(pg_temp.locked(2), '8 9', 'the end is not drawn');
select is(pg_temp.locked(2), '10', 'but what lies before it is');

select underway._set_front((pg_temp.lane()).front, '2026-01-01 10:00:00Z', 0);

select is(pg_temp.locked(2), '1 2', 'a front may be anywhere');
select is(pg_temp.locked(2, '2026-01-01 10:00:01Z'), '6 7', 'nothing is drawn below the floor');

select * from finish();
rollback;
