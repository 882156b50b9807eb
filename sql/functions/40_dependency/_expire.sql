-- _expire: cancel tasks whose first attempt no worker has begun by their expires_at.
--
--   pending | waiting -> cancelled
--
-- It is called by claims and never waits: rows that another session has locked are left to a later call. A task that has
-- failed does not expire any more (_requeue). A released one does, because its attempt does not count. What depends on the tasks is left to
-- the next evaluation by maintain(): it may be much, and its end may wait for claims from other queues.
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

create or replace function underway._expire_overdue(max_tasks integer default 10000)
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
    v_now timestamptz := underway._clock();
begin
    return underway._expire(
        array(
            select t.id
            from underway.task t
            where t.expires_at <= v_now
              and t.state in ('pending', 'waiting')
            order by t.expires_at, t.id
            limit _expire_overdue.max_tasks
            for update skip locked
        ),
        v_now
    );
end;
$$;

comment on function underway._expire_overdue(integer) is
    'Cancel at most max_tasks tasks that have expired. Returns how many there were.';
