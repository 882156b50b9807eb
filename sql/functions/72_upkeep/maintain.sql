-- maintain: run the chores, once a second for all callers together. Each of them is bounded, and skips rows that another
-- session has locked.
--
-- Writes: queue, upkeep, worker.
-- Calls: _check_workers, _clock, _expire_overdue, _keep_statistics, _mark_queues, _notify_idle_workers, _one_in,
--   _prune, _prune_batches, _prune_buckets, _prune_reservations, _reclaim, _reevaluate_batches, _repair_clock,
--   _repair_parked, _repair_queues, _tables_to_vacuum, run_schedules.

create or replace function underway._run_chores()
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_last    underway.upkeep;
    v_expired integer;
    v_done    jsonb;
    v_problem text;
begin
    select u.* into v_last from underway.upkeep u order by u.last_run_at desc limit 1;

    if v_last.last_run_at > v_now + interval '1 second' then
        perform underway._repair_clock();
    end if;

    v_problem := underway._keep_statistics();
    perform underway._mark_queues();
    -- Begins where the last call ended, because a long snapshot keeps the index entries of the tasks that have expired.
    -- About once a minute it begins at the first task.
    select e.expired, e.since
    into v_expired, v_last.expired_until
    from underway._expire_overdue(
        since => case when underway._one_in(60) then '-infinity' else coalesce(v_last.expired_until, '-infinity') end
    ) e;
    perform underway._reevaluate_batches();
    perform underway._prune_reservations();
    perform underway._prune_buckets();
    perform underway._prune_batches();
    v_done := jsonb_build_object(
        'scheduled', underway.run_schedules(),
        'reclaimed', underway._reclaim(),
        'expired', v_expired,
        'pruned', underway._prune(),
        'forgotten_workers', underway._check_workers(),
        'to_vacuum', underway._tables_to_vacuum()
    ) || jsonb_strip_nulls(jsonb_build_object('statistics_error', v_problem));

    -- Keys whose parked tasks could not be seen or changed when a slot was freed.
    select r.queue, r.key
    into v_last.queue, v_last.key
    from underway._repair_parked(coalesce(v_last.queue, ''), coalesce(v_last.key, ''), 500) r;

    -- About once a minute.
    if random() < 1.0 / 60 then
        perform underway._repair_queues();
        update underway.queue q
        set has_keys = false
        where q.ctid = any (array(
            select keyed.ctid
            from underway.queue keyed
            where keyed.has_keys
              and (
                  select true
                  from underway.task t
                  where t.queue = keyed.name
                    and t.concurrency_key is not null
                  limit 1
              ) is null
            for no key update skip locked
        ));
    end if;

    -- A row that another session has locked stays, and the newest row counts.
    delete from underway.upkeep u
    where u.ctid = any (array(select one.ctid from underway.upkeep one for update skip locked));
    insert into underway.upkeep (last_run_at, expired_until, queue, key)
    values (v_now, v_last.expired_until, coalesce(v_last.queue, ''), coalesce(v_last.key, ''));

    perform underway._notify_idle_workers();

    return v_done;
end;
$$;

comment on function underway._run_chores() is 'Do the chores of maintain now. Returns what was done.';

create or replace function underway.maintain(worker bigint default null, at_once boolean default false)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now  timestamptz := underway._clock();
    v_wait interval;
begin
    -- A worker is seen every few seconds, so that one that does nothing writes next to nothing.
    update underway.worker w
    set seen_at = v_now
    where w.id = maintain.worker
      and (w.seen_at < v_now - interval '10 seconds' or w.seen_at > v_now + interval '1 second');

    -- Another session may be doing the chores. When it has not committed after 3 s, the others do them too.
    v_wait := case
        when pg_try_advisory_xact_lock(hashtextextended('underway.maintain', 0)) then interval '0.9 seconds'
        else interval '3 seconds'
    end;
    if not maintain.at_once and (v_now - (select max(u.last_run_at) from underway.upkeep u) between '0' and v_wait) is true then
        return '{}';
    end if;

    return underway._run_chores();
end;
$$;

comment on function underway.maintain(bigint, boolean) is
    'Enqueue what schedules have due, reclaim lapsed leases, cancel expired tasks, prune the history, reevaluate'
    ' batches, forget lost workers. Returns what was done, and in to_vacuum the tables that the caller should vacuum,'
    ' because a function cannot; an empty object when another session did it less than a second ago. Call it every'
    ' second from as many sessions as you like; a worker passes its id and is seen thereby. With at_once they are done'
    ' in any case.';
