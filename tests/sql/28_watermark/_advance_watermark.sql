begin;
select plan(19);

create function pg_temp.watermark(priority integer default 0) returns text language sql as $$
    select string_agg(
        format(
            '%s, observed at %s',
            case when isfinite(w.ready_at) then to_char(w.ready_at at time zone 'UTC', 'HH24:MI:SS') else w.ready_at::text end,
            case when isfinite(w.observed_at) then to_char(w.observed_at at time zone 'UTC', 'HH24:MI:SS') else w.observed_at::text end
        ), '; '
    )
    from underway._watermark('email', watermark.priority) w
$$;

-- observed: at this time no transaction had a task that was not committed.
create function pg_temp.observed(at timestamptz, ready_at timestamptz default '-infinity') returns void language sql as $$
    delete from underway.watermark w where w.queue = 'email' and w.priority = 0;
    insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
    values ('email', 0, observed.ready_at, observed.at, '{}');
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

-- two steps: a time is observed, then the watermark rises to it

select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '-infinity, observed at 12:00:00', 'the first call records the time and leaves the watermark at the beginning');
select is(
    (select w.observed_locks from underway.watermark w), '{}', 'no transaction is recorded while none has written a task'
);
select underway_test.advance_clock('1 minute');
select underway._advance_watermark('email', 0);
select is(
    pg_temp.watermark(), '12:00:00, observed at 12:01:00', 'the next call raises the watermark to the time that was observed'
);

-- transactions that have written a task

select underway.enqueue('email', '"1"');
select underway_test.advance_clock('1 minute');
select underway._advance_watermark('email', 0);
select is(
    pg_temp.watermark(), '12:01:00, observed at 12:02:00', 'the watermark rises to the observed time while a later transaction is open'
);
select is(
    (select w.observed_locks from underway.watermark w),
    array(
        select l.virtualtransaction
        from pg_locks l
        where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation = 'underway.task'::regclass
          and l.mode = 'RowExclusiveLock'
    ),
    'the transactions that have written a task are recorded'
);
create temporary table before on commit drop as select w.version from underway.watermark w;
select underway_test.advance_clock('1 minute');
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:01:00, observed at 12:02:00', 'the watermark stays while one of the recorded transactions is open');
select results_eq(
    'select version from underway.watermark', 'select version from before', 'a watermark that stays is not written again'
);

-- pending tasks

select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:00:00+00');
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:01:00, observed at 12:03:00', 'the watermark does not rise above the oldest pending task');
select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:00:00+00');
update underway.task set parked = true, concurrency_key = 'a';
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:03:00, observed at 12:03:00', 'a parked task does not hold the watermark up');
select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:00:00+00');
update underway.task set parked = false, concurrency_key = null;
select is(underway_test.claimed(), '1', 'a task behind the watermark is claimed');
select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:00:00+00');
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:03:00, observed at 12:03:00', 'a running task does not hold the watermark up');

select underway.enqueue('email', '"2"', priority => 7);
select underway.create_queue('sms');
select underway.enqueue('sms', '"3"');
update underway.task set ready_at = '2030-01-01 12:00:30+00' where state = 'pending';
select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:00:00+00');
select underway._advance_watermark('email', 0);
select is(
    pg_temp.watermark(), '12:03:00, observed at 12:03:00', 'tasks of other priorities and queues do not hold the watermark up'
);
select is(pg_temp.watermark(7), null, 'the watermark of another priority is not written');

-- no step back

select pg_temp.observed('2030-01-01 12:01:00+00', '2030-01-01 12:02:00+00');
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:02:00, observed at 12:03:00', 'the watermark never moves back');

-- the clock was put back

select pg_temp.observed('2030-01-01 12:03:01+00', '2030-01-01 12:02:00+00');
select underway._advance_watermark('email', 0);
select is(pg_temp.watermark(), '12:03:01, observed at 12:03:01', 'a watermark that was observed one second ahead counts');
select pg_temp.observed('2030-01-01 12:03:01.000001+00', '2030-01-01 12:02:00+00');
select underway._advance_watermark('email', 0);
select is(
    pg_temp.watermark(), '-infinity, observed at -infinity', 'a watermark that was observed more than a second ahead is reset'
);

-- a claim starts at the watermark

select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:03:00+00');
select underway.enqueue('email', '"4"');
select is(underway_test.claimed(), '2 4', 'a task that is enqueued after the watermark is claimed');
select pg_temp.observed('2030-01-01 12:03:00+00', '2030-01-01 12:03:00+00');
insert into underway.task (queue, priority, ready_at, enqueued_at, input)
values ('email', 0, '2030-01-01 12:02:59+00', '2030-01-01 12:02:59+00', '"5"');
select is(underway_test.claimed(), '', 'a claim reads no index entry before the watermark');

-- rows

select is(
    (select count(*) from underway.watermark w where w.queue = 'email' and w.priority = 0), 1::bigint,
    'one row is kept for each queue and priority'
);

select * from finish();
rollback;
