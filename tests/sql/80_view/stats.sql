begin;
select plan(7);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is(
    underway.stats(),
    '{
        "queues": 0, "queues_paused": 0, "ready": 0, "parked": 0, "scheduled": 0, "in_progress": 0, "waiting": 0, "expired": 0,
        "dead_letters": 0, "capped": false, "counted_seconds_ago": 0, "oldest_ready_seconds": 0, "schedules": 0,
        "schedules_failing": 0, "workers": 0
    }',
    'all numbers are zero without queues'
);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
select underway.create_queue('invoice');

select underway.register_worker('host-1', '{email}');
select underway_test.advance_clock('1 minute 1 second');
select underway.register_worker('host-2', '{email}');
select underway.register_worker('host-3', '{invoice}');

select underway_test.held_task(queue) from unnest('{email, invoice}'::text[]) as queue;
select underway_test.finished_task('failed', 'email');
select underway_test.finished_task('succeeded', 'invoice') from generate_series(1, 5);
select underway.enqueue(queue, delay => '1 minute') from unnest('{email, invoice, invoice}'::text[]) as queue;
select underway.enqueue(queue, delay => '1 hour') from unnest('{email, email, email, invoice}'::text[]) as queue;
create temporary table waiting on commit drop as select underway.enqueue('email') as id from generate_series(1, 6);
update underway.task set state = 'waiting' where id in (select id from waiting);
insert into underway.dependent (task, batch, event) select id, 0, 'success' from waiting;
select underway.enqueue('email', expires => '1 second');
select underway.pause_queue('invoice');
select underway_test.advance_clock('59.5 seconds');

select is(
    underway.stats() - '{oldest_ready_seconds, counted_seconds_ago}'::text[],
    '{
        "queues": 3, "queues_paused": 1, "ready": 1, "parked": 0, "scheduled": 7, "in_progress": 2, "waiting": 6, "expired": 1,
        "dead_letters": 1, "capped": false, "schedules": 0, "schedules_failing": 0, "workers": 2
    }',
    'the numbers are summed over all queues, and lost workers do not count'
);

select is(
    (underway.stats() ->> 'oldest_ready_seconds')::numeric, 59.5,
    'the number of seconds since when the oldest ready task is ready is shown'
);

select underway_test.advance_clock('1 second');

select is(
    underway.stats() -> 'ready', '4',
    'a delayed task counts as ready when it is due'
);

-- parked tasks

update underway.task set concurrency_key = 'a' where state = 'pending' and ready_at <= underway._clock();
update underway.queue q set has_keys = true where q.name in ('email', 'invoice');
select underway.pause_key('email', 'a');
select from underway.dequeue('email', 10);

select results_eq(
    $$ select underway.stats() -> 'ready', underway.stats() -> 'parked' $$,
    $$ values ('3'::jsonb, '1'::jsonb) $$,
    'parked tasks are counted apart from ready tasks'
);

-- schedules

select underway.create_queue('fax');
select underway.schedule(name, 'email', '* * * * *') from unnest('{one, other}'::text[]) as name;
select underway.schedule(name, 'fax', '* * * * *') from unnest('{failing, too, mended}'::text[]) as name;
select underway.pause_schedule('one');
select underway.drop_queue('fax');
select underway_test.advance_clock('1 minute');
select underway.run_schedules();
select underway.schedule('mended', 'email', '* * * * *');
select underway.run_schedules();

select is(underway.stats() -> 'schedules', '5', 'all schedules are counted, paused ones too');
select is(underway.stats() -> 'schedules_failing', '2', 'schedules whose last run has failed are counted');

select * from finish();
rollback;
