begin;
select plan(6);

create function pg_temp.raised(queue text, priority integer default 0) returns timestamptz language plpgsql as $$
begin
    -- As an earlier transaction would have left it.
    delete from underway.watermark f where f.queue = raised.queue and f.priority = raised.priority;
    insert into underway.watermark values (raised.queue, raised.priority, '-infinity', '2026-01-01 12:00:00Z', '3');
    perform underway_test.stop_clock('2026-01-01 13:00:00Z');
    perform underway._advance_queue_watermark(raised.queue, raised.priority);
    return (select f.ready_at from underway.watermark f where f.queue = raised.queue and f.priority = raised.priority);
end;
$$;

select underway.create_queue('email');

select is(pg_temp.raised('email'), '2026-01-01 12:00:00Z'::timestamptz, 'an empty lane is passed as far as was noted');

select underway_test.stop_clock('2026-01-01 10:00:00Z');
select underway.enqueue('email', priority => 5);
select underway.enqueue('email', delay => '1 day');
select underway.create_queue('sms');
select underway.enqueue('sms');

select is(
    pg_temp.raised('email'), '2026-01-01 12:00:00Z'::timestamptz,
    'tasks of another priority, of another queue and of later do not bound it'
);

select is(
    pg_temp.raised('email', 5), '2026-01-01 10:00:00Z'::timestamptz, 'the oldest task that is pending bounds it'
);

select underway_test.stop_clock('2026-01-01 11:00:00Z');
select underway.enqueue('email', priority => 5);
select from underway.dequeue('email', 1);

select is(
    pg_temp.raised('email', 5), '2026-01-01 11:00:00Z'::timestamptz, 'one that is in progress does not'
);

select underway._advance_queue_watermark('email', 5);

select is(
    (select count(*) from underway.watermark where queue = 'email' and priority = 5), 1::bigint,
    'while what was noted is not settled nothing is added'
);

select lives_ok($$ select underway._advance_queue_watermark('unknown', 0) $$, 'a lane that nobody has opened is passed over');

select * from finish();
rollback;
