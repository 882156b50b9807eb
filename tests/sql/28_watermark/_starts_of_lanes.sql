begin;
select plan(3);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway._ensure_priority('email', 7);
insert into underway.queue_priority (queue, priority) values ('email', 7), ('sms', 3);
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values
    ('email', 7, '2030-01-01 11:00:00+00', '2030-01-01 11:30:00+00', '{}'),
    ('email', 7, '2030-01-01 11:20:00+00', '2030-01-01 11:50:00+00', '{}');

select results_eq(
    $$ select * from underway._starts_of_lanes('email', underway._clock()) $$,
    $$ values (7, '2030-01-01 11:20:00+00'::timestamptz), (0, '-infinity') $$,
    'each priority in use is returned once, the highest first, with its watermark'
);
select results_eq(
    $$ select * from underway._starts_of_lanes('email', underway._clock() - interval '1 hour') $$,
    $$ values (7, '-infinity'::timestamptz), (0, '-infinity') $$,
    'a watermark in the future is ignored'
);
select is_empty(
    $$ select * from underway._starts_of_lanes('nowhere', underway._clock()) $$, 'a queue that does not exist uses no priority'
);

select * from finish();
rollback;
