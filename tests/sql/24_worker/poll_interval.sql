begin;
select plan(9);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('sms');

create function pg_temp.start(workers integer, queues text[] default '{email}', idle boolean default true)
returns void
language sql
as $$
    select underway.set_idle(underway.register_worker('w' || number, start.queues), start.idle)
    from generate_series(1, start.workers) number
$$;

create function pg_temp.intervals(worker bigint)
returns table (shortest double precision, longest double precision)
language sql
as $$
    select min(extract(epoch from underway.poll_interval(intervals.worker))),
        max(extract(epoch from underway.poll_interval(intervals.worker)))
    from generate_series(1, 200)
$$;

create function pg_temp.first(idle boolean default true)
returns bigint
language sql
as $$ select min(w.id) from underway.worker w where w.idle = first.idle $$;

select is(underway.poll_interval(-1), '1 second', 'a worker that is not registered looks once a second');
select is(underway.poll_interval(null), '1 second', 'without a worker the interval is a second');

select pg_temp.start(20);
select is(underway.poll_interval(pg_temp.first()), '1 second', 'up to twenty idle workers look once a second each');

select pg_temp.start(60, '{sms}');
select pg_temp.start(60, idle => false);
select is(
    underway.poll_interval(pg_temp.first()), '1 second', 'workers that are busy or serve other queues are not counted'
);
select is(
    underway.poll_interval(pg_temp.first(idle => false)), '1 second', 'a busy worker looks once a second among any number'
);
select ok(
    (select i.shortest >= 1.5 and i.longest <= 3 and i.longest - i.shortest > 0.5 from pg_temp.intervals(
        (select max(w.id) from underway.worker w where w.queues = '{sms}')) i),
    'sixty idle workers look at random times, about every two seconds'
);

select pg_temp.start(400);
select ok(
    (select i.shortest >= 2.5 and i.longest between 4 and 5 from pg_temp.intervals(pg_temp.first()) i),
    'no worker waits for more than five seconds'
);
select ok(
    (select underway.poll_interval(w.id) > '1 second' from underway.worker w where w.id = pg_temp.first()),
    'many idle workers look less often'
);
select underway_test.stop_clock('2030-01-01 12:00:21+00');
select is(
    underway.poll_interval(pg_temp.first()), '1 second', 'workers that were not seen for twenty seconds are not counted'
);

select * from finish();
rollback;
