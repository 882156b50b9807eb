-- _expire: cancel tasks whose first attempt no worker has begun by their expires_at.
--
--   pending | waiting -> cancelled
--
-- It is called by claims and never waits: rows that another session has locked are left to a later call. A task that has
-- failed does not expire any more (_requeue). A released one does, because its attempt does not count. What depends on the
-- tasks is left to the next evaluation by maintain(): it may be much, and ending dependents may wait for claims from other
-- queues.
--
-- Writes: batch_to_reevaluate.
-- Calls: _clock, _finish, _record_ends.

create or replace function underway._expire(tasks bigint[], now timestamptz)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_expired  bigint[] := array(
        select t.id
        from (select distinct unnest(_expire.tasks) as id order by 1) given
        cross join lateral (
            -- The limit keeps this a look-up for each task under a generic plan.
            select one.id
            from underway.task one
            where one.id = given.id
              and one.expires_at <= _expire.now
              and one.state in ('pending', 'waiting')
            limit 1
            for update skip locked
        ) t
    );
    v_finished underway.finish_result;
begin
    if v_expired <> '{}' then
        v_finished := underway._finish(v_expired, null, 'cancelled', reason => 'expired');
        if v_finished.with_effects is not null then
            insert into underway.batch_to_reevaluate (batch)
            select unnest(underway._record_ends(v_finished.with_effects, 'cancelled'));
        end if;
    end if;

    return cardinality(v_expired);
end;
$$;

comment on function underway._expire(bigint[], timestamptz) is
    'Cancel those of these tasks that have expired and are not locked. Returns how many there were.';

create or replace function underway._expire_overdue(
    max_tasks integer default 10000,
    inout since timestamptz default '-infinity', -- those that expired before were cancelled by an earlier call
    out expired integer
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now   timestamptz := underway._clock();
    v_tasks bigint[];
    v_last  timestamptz;
begin
    -- A task may have been committed, or a lock of its row released, a while after it expired.
    select array_agg(t.id), max(t.expires_at)
    into v_tasks, v_last
    from (
        select one.id, one.expires_at
        from underway.task one
        where one.expires_at between _expire_overdue.since - interval '10 minutes' and v_now
          and one.state in ('pending', 'waiting')
        order by one.expires_at, one.id
        limit _expire_overdue.max_tasks
        for update skip locked
    ) t;

    _expire_overdue.expired := underway._expire(coalesce(v_tasks, '{}'), v_now);
    _expire_overdue.since := case when cardinality(v_tasks) = _expire_overdue.max_tasks then v_last else v_now end;
end;
$$;

comment on function underway._expire_overdue(integer, timestamptz) is
    'Cancel at most max_tasks tasks that have expired. Returns how many there were, and from when on the next call has'
    ' to look.';
