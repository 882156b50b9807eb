begin;
select plan(10);

create function pg_temp.shared() returns bigint language sql as $$
    select count(*)
    from pg_locks l
    where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.mode = 'ShareLock' and l.granted
$$;

create function pg_temp.front(at timestamptz) returns text language sql as $$
    select to_char(underway._front_at('email', 0, front.at) at time zone 'UTC', 'HH24:MI:SS.US')
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');

-- the lock

select underway._lock_front('{email,sms,email}');
select is(pg_temp.shared(), 2::bigint, 'the watermark lock of each queue is shared once');
select underway._lock_front('{}');
select is(pg_temp.shared(), 2::bigint, 'no queue needs no lock');
select is(
    (
        select count(*)
        from pg_locks l
        where l.locktype = 'advisory'
          and l.pid = pg_backend_pid()
          and l.classid::bigint = (underway._watermark_lock('email') >> 32) & 4294967295
          and l.objid::bigint = underway._watermark_lock('email') & 4294967295
    ),
    1::bigint, 'it is the watermark lock that is held'
);

-- the place

select is(pg_temp.front('2030-01-01 11:00:00+00'), '11:00:00.000000', 'without a watermark a task keeps its time');

insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values
    ('email', 0, '2030-01-01 11:30:00+00', '2030-01-01 11:45:00+00', '{}'),
    ('email', 1, '2030-01-01 11:59:00+00', '2030-01-01 11:59:00+00', '{}');

select is(pg_temp.front('2030-01-01 11:29:59+00'), '11:30:00.000000', 'a task is not placed before the watermark');
select is(pg_temp.front('2030-01-01 11:30:01+00'), '11:30:01.000000', 'a task that was ready after the watermark keeps its time');
select is(pg_temp.front('2030-01-01 13:00:00+00'), '13:00:00.000000', 'a task that is not due keeps its time');

-- a clock that was put back

update underway.watermark w set observed_at = '2030-01-01 12:00:01+00' where w.priority = 0;
select is(pg_temp.front('2030-01-01 11:00:00+00'), '11:30:00.000000', 'a watermark that was observed a second ahead counts');
update underway.watermark w set observed_at = '2030-01-01 12:00:01.000001+00' where w.priority = 0;
select is(
    pg_temp.front('2030-01-01 11:00:00+00'), '12:00:00.000000',
    'a task is placed at the back while the watermark was observed more than a second ahead'
);
select is(
    (select w.ready_at from underway._watermark('email', 0) w), '-infinity', 'a watermark in the future is reset'
);

select * from finish();
rollback;
