-- the ring over years: no task is pruned early, none is kept for long

begin;
select plan(5);

select underway_test.stop_clock('2027-12-20 23:30:00+00');

select underway.create_queue('email');

-- a task in the history, finished now

create function pg_temp.finished(retention interval) returns void language sql as $$
    insert into underway.task_history (
        id, queue, priority, attempt, state, input, enqueued_at, finished_at, kept_until, kept_slot, retention
    )
    select
        (extract(epoch from now.at) * 1000 + row_number() over ())::bigint, 'email', 0, 1, 'succeeded', '{}',
        now.at, now.at, now.at + finished.retention, underway._history_slot(now.at + finished.retention, now.at), finished.retention
    from (select underway._clock()) as now (at)
$$;

create temp table seen (at timestamptz, early bigint, late bigint, kept bigint);

-- 440 days, with the year ends of 2027 and 2028 and a leap day between; each day finishes tasks of several lengths

create function pg_temp.a_day() returns void language plpgsql as $$
declare
    v_now timestamptz := underway._clock();
begin
    perform pg_temp.finished(make_interval(days => days)) from unnest(array[0, 1, 14, 18, 19, 20, 21, 35]) as days;
    perform underway._prune();

    insert into seen
    select
        v_now,
        -- each task that is not over must be there: of each length one for each day that it lasts
        (
            select count(*)
            from unnest(array[1, 14, 18, 19, 20, 21, 35]) as days, generate_series(0, days - 1) as ago
            where v_now - make_interval(days => ago) >= '2027-12-20 23:30:00+00'
        ) - count(*) filter (where h.kept_until > v_now),
        count(*) filter (where h.kept_until <= v_now - interval '2 days'),
        count(*)
    from underway.task_history h;

    perform underway_test.advance_clock('1 day');
end;
$$;

select pg_temp.a_day() from generate_series(1, 440);

select is((select max(seen.at) from seen), '2029-03-03 23:30:00+00'::timestamptz, 'years pass');

select is_empty(
    $$ select seen.at from seen where seen.early <> 0 limit 3 $$, 'no task is deleted before its retention is over'
);

select is_empty(
    $$ select seen.at from seen where seen.late <> 0 limit 3 $$, 'no task is kept two days beyond its retention'
);

select is(
    (select max(seen.kept) from seen), (select seen.kept from seen order by seen.at desc limit 1),
    'the history stops growing'
);

-- nobody is alive for ten days

select pg_temp.finished('1 day');
select underway_test.advance_clock('10 days');
select underway._prune();

select is_empty(
    $$
        select h.id, h.kept_until
        from underway.task_history h
        where h.kept_until <= underway._clock() - interval '2 days'
        limit 5
    $$,
    'tasks that expired while no session pruned are deleted by the next pruning'
);

select * from finish();
rollback;
