-- claims move the watermark of their queue

begin;
select plan(6);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.enqueue_many('email', array(select to_jsonb(number) from generate_series(1, 2100) number));

select is((select count(*) from underway.dequeue('email', 1000)), 1000::bigint, 'a claim takes 1,000 tasks');
select is(
    (select w.observed_at from underway._watermark('email', 0) w), '2030-01-01 12:00:00+00',
    'a claim of 1,000 tasks records the time for the watermark'
);

-- as if the transaction that wrote the tasks had ended
update underway.watermark set observed_locks = '{}';
select underway_test.advance_clock('1 minute');
select is((select count(*) from underway.dequeue('email', 1100)), 1100::bigint, 'the next claim takes the rest of the queue');
select is(
    (select w.ready_at from underway._watermark('email', 0) w), '2030-01-01 12:00:00+00',
    'the next claim of 1,000 tasks raises the watermark to the recorded time'
);

-- the clock was put back

update underway.watermark set observed_at = underway._clock() + interval '1 day', ready_at = underway._clock() + interval '1 day';
select underway.enqueue('email', '"now"', priority => 5);
insert into underway.task (queue, priority, ready_at, enqueued_at, input)
values ('email', 0, underway._clock(), underway._clock(), '"late"');
select is(underway_test.claimed(), 'now late', 'a claim ignores a watermark that was recorded a day ahead');
select results_eq(
    $$ select w.ready_at, w.observed_at from underway._watermark('email', 0) w $$,
    $$ values ('-infinity'::timestamptz, '-infinity'::timestamptz) $$,
    'a claim resets a watermark that was recorded a day ahead'
);

select * from finish();
rollback;
