-- a repeatable-read snapshot does not show where the watermark is

begin isolation level repeatable read;
select plan(2);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, '2030-01-01 11:00:00+00', '2030-01-01 12:00:00.5+00', '{}');

select is(
    underway._front_at('email', 0, '2030-01-01 11:30:00+00'), '2030-01-01 12:00:00.5+00'::timestamptz,
    'in a repeatable read transaction a task goes to the back of the line'
);
select is(
    underway._front_at('sms', 0, '2030-01-01 11:30:00+00'), '2030-01-01 12:00:00+00'::timestamptz,
    'in a repeatable read transaction a task of a queue without a watermark is ready now'
);

select * from finish();
rollback;
