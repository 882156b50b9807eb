begin;
select plan(7);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('dead');
create function pg_temp.counts(queue text)
returns underway.queue_count
language sql
as $$ select c from underway.queue_counts() c where c.queue = counts.queue $$;

select results_eq(
    $$ select queue, ready, scheduled, in_progress, waiting, parked, expired, dead_letters, capped from underway.queue_counts() order by 1 $$,
    $$ values
        ('dead', 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, false),
        ('email', 0, 0, 0, 0, 0, 0, 0, false) $$,
    'an empty queue has none'
);

select underway.enqueue('email', priority => priority) from unnest('{0,5,5,-7}'::integer[]) as priority;
select underway.enqueue('email', delay => '1 hour', priority => 5);
select underway.enqueue('email', after => array[(select min(id) from underway.task)]);
select underway.enqueue('email', expires => '1 second');
select underway_test.held_task('email');
select underway_test.advance_clock('10 seconds');

select results_eq(
    $$ select ready, scheduled, in_progress, waiting, parked, expired, capped from pg_temp.counts('email') $$,
    $$ values (4::bigint, 1::bigint, 1::bigint, 1::bigint, 0::bigint, 1::bigint, false) $$,
    'tasks of all priorities are counted by their state'
);
select is((pg_temp.counts('email')).oldest_ready_at, '2030-01-01 12:00:00+00', 'the oldest ready task is found');

-- A priority that is recorded twice, as two sessions do at once.
insert into underway.queue_priority (queue, priority) values ('email', 5);
select is((pg_temp.counts('email')).ready, 4::bigint, 'a priority that is recorded twice counts once');

select underway.enqueue_many('dead', array_fill('1'::jsonb, array[10000]));
select results_eq(
    $$ select ready, capped from pg_temp.counts('dead') $$, $$ values (10000::bigint, true) $$,
    'ten thousand tasks may be more'
);
select underway.enqueue_many('dead', array_fill('1'::jsonb, array[1000]), priority => 3);
select results_eq(
    $$ select ready, capped from pg_temp.counts('dead') $$, $$ values (10000::bigint, true) $$,
    'more than ten thousand are not counted'
);
select is((pg_temp.counts('email')).capped, false, 'other queues are counted exactly');

select * from finish();
rollback;
