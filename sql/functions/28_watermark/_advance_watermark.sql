-- _advance_watermark: record how far claims from a queue have come at one priority.
--
-- Problem: a claim reads the ready index from its beginning. Under a long-running snapshot the entries of finished tasks
-- cannot be removed, and each claim would walk over all of them.
-- Idea: remember a time W and let claims start there. W may rise to a time T once no task that is ready before T can still
-- appear. A transaction that makes a task ready holds RowExclusiveLock on `task` until it ends, and reads the clock after
-- it has that lock (or places the task in front of the line, see _lock_front). So: read the clock (T), then record T with
-- the transactions that hold the lock at that moment. Once none of them holds it any more, all tasks that are ready before
-- T are visible, and W rises to T, or to the oldest of them that is still pending.
-- Invariant: no pending task in the ready index is ready before W.
--
-- A prepared transaction has another virtual id after a restart of the server (-1/...), so W stays while one holds the
-- lock. Holders of the lock are compared, not transaction ids: transactions that write other tables or other databases do
-- not delay W, and no id of one cluster is compared with those of another after a dump is restored.
--
-- Writes: watermark.
-- Calls: _clock, _watermark, _watermark_lock.

create or replace function underway._write_watermark(
    queue text,
    priority integer,
    ready_at timestamptz,
    observed_at timestamptz,
    observed_locks text[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_version bigint;
begin
    insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
    values (
        _write_watermark.queue, _write_watermark.priority, _write_watermark.ready_at, _write_watermark.observed_at,
        _write_watermark.observed_locks
    )
    returning version into v_version;

    delete from underway.watermark w
    where w.queue = _write_watermark.queue
      and w.priority = _write_watermark.priority
      and w.version < v_version;
end;
$$;

comment on function underway._write_watermark(text, integer, timestamptz, timestamptz, text[]) is
    'Replace the watermark of a queue and priority; the caller holds the watermark lock of the queue alone.';

create or replace function underway._reset_watermark(queue text, priority integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Shared: it excludes only sessions that advance the watermark. Several sessions may insert at once, so the older rows
    -- are left for the next advance to delete.
    perform pg_advisory_xact_lock_shared(underway._watermark_lock(_reset_watermark.queue));
    insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
    values (_reset_watermark.queue, _reset_watermark.priority, '-infinity', '-infinity', '{}');
end;
$$;

comment on function underway._reset_watermark(text, integer) is
    'Let claims look at all ready tasks of a queue and priority again, since the watermark and the clock disagree.';

create or replace function underway._advance_watermark(queue text, priority integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_last   underway.watermark;
    v_oldest timestamptz;
    v_locks  text[];
begin
    -- Each statement below needs a snapshot of its own. A session that makes a task ready at an earlier time than now shares
    -- this lock, and then W stays.
    if current_setting('transaction_isolation') <> 'read committed'
       or not pg_try_advisory_xact_lock(underway._watermark_lock(_advance_watermark.queue)) then
        return;
    end if;

    select w.* into v_last from underway._watermark(_advance_watermark.queue, _advance_watermark.priority) w;

    if v_last.observed_at > v_now + interval '1 second' then
        perform underway._reset_watermark(_advance_watermark.queue, _advance_watermark.priority);
        return;
    end if;

    -- The clock before the locks: who gets the lock after this reads a later time.
    v_locks := array(
        select l.virtualtransaction
        from pg_locks l
        where l.locktype = 'relation'
          and l.relation = 'underway.task'::regclass
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.mode = 'RowExclusiveLock'
          and l.granted
    );
    if exists (
        select from unnest(v_locks) as holder (id) where holder.id = any (v_last.observed_locks) or holder.id like '-1/%'
    ) then
        return;
    end if;

    -- A statement after the look at the locks: it sees what their holders have committed.
    v_oldest := (
        select t.ready_at
        from underway.task t
        where t.queue = _advance_watermark.queue
          and t.priority = _advance_watermark.priority
          and t.state = 'pending'
          and not t.parked
          and t.ready_at >= v_last.ready_at
          and t.ready_at < v_last.observed_at
        order by t.ready_at, t.id
        limit 1
    );

    perform underway._write_watermark(
        _advance_watermark.queue,
        _advance_watermark.priority,
        coalesce(greatest(v_last.ready_at, least(v_last.observed_at, v_oldest)), '-infinity'),
        -- The clock may have been put back by some ms, and what is made ready is never ready before an observed time.
        greatest(v_now, v_last.observed_at),
        v_locks
    );
end;
$$;

comment on function underway._advance_watermark(text, integer) is
    'Raise the watermark of a queue and priority as far as all transactions allow. Waits for nobody.';
