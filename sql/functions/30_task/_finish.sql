-- _finish: move held tasks from the live table into the history. Every final state is reached here.
--
--   in_progress -> succeeded | failed
--   pending | waiting | in_progress -> cancelled
--
-- Writes: task, task_history, attempt.

create or replace function underway._history_slot(expires_at timestamptz, now timestamptz)
returns smallint
language sql
immutable
begin atomic
    -- Days since 1970 in UTC. The ring takes twenty days from now; the slots after them are being emptied (_prune). No
    -- pinned search_path: the names are bound already, and with it the call would not be inlined.
    select case
        when (expires_at at time zone 'UTC')::date - (now at time zone 'UTC')::date < 20
            then mod((expires_at at time zone 'UTC')::date - date '1970-01-01', 32)
        else 32
    end::smallint;
end;

comment on function underway._history_slot(timestamptz, timestamptz) is
    'The partition of the history for a task that expires at a time: its day in the ring, or 32 for later.';

create or replace function underway._finish(
    tasks bigint[],
    leases uuid[],
    state underway.task_state,
    outputs jsonb[] default null
)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_now         timestamptz := underway._clock();
    v_finished    bigint[];
    v_with_errors bigint[];
    v_watched     bigint[];
    v_followed    bigint[];
    v_freed       bigint[];
    v_free_queues text[];
    v_free_keys   text[];
begin
    -- The array is looked up in the index in the order of ids, whatever the statistics say, and what is found is joined
    -- with the batch: a join alone may be turned round, and read the table for each row of the batch. So two batches
    -- never wait for each other in a circle, either.
    with gone as (
        delete from underway.task t
        using unnest(_finish.tasks, _finish.leases, _finish.outputs) as batch (task, lease, output)
        where t.id = any (_finish.tasks)
          and batch.task = t.id
          and (_finish.leases is null or t.lease = batch.lease)
        returning t.*, batch.output
    ),
    setting as (
        select q.name, q.keep_history, v_now + q.ttl as expires_at, underway._history_slot(v_now + q.ttl, v_now) as expires_slot
        from underway.queue q
        where q.name in (select g.queue from gone g)
    ),
    finished as (
        insert into underway.task_history (
            id, queue, unique_key, concurrency_key, job, state, priority, attempt, worker, input, output, headers,
            errors, dead_letter, retry_policy, timeout, heartbeat, ttl, enqueued_at, started_at, finished_at, expires_at, expires_slot
        )
        select
            g.id, g.queue, g.unique_key, g.concurrency_key, g.job, _finish.state, g.priority, g.attempt, g.worker,
            g.input, g.output, g.headers,
            case when g.has_errors then (
                select jsonb_agg(a.error order by a.failed_at) from underway.attempt a where a.task = g.id
            ) end,
            g.dead_letter, g.retry_policy, g.timeout, g.heartbeat, g.ttl, g.enqueued_at, g.started_at, v_now,
            case when g.ttl is null then coalesce(s.expires_at, v_now + interval '14 days') else v_now + g.ttl end,
            case
                when g.ttl is null then coalesce(s.expires_slot, underway._history_slot(v_now + '14 days', v_now))
                else underway._history_slot(v_now + g.ttl, v_now)
            end
        from gone g
        left join setting s on s.name = g.queue
        -- Where no history is kept, this is what somebody has to look at, or is waiting for.
        where s.keep_history is not false
           or _finish.state <> 'succeeded'
           or g.watched
    )
    select
        array_agg(g.id), array_agg(g.id) filter (where g.has_errors), array_agg(g.id) filter (where g.watched),
        array_agg(g.id) filter (where g.followed),
        array_agg(g.id) filter (where g.limited or g.parked), array_agg(g.queue) filter (where g.limited or g.parked),
        array_agg(case when g.limited then g.concurrency_key end) filter (where g.limited or g.parked)
    into v_finished, v_with_errors, v_watched, v_followed, v_freed, v_free_queues, v_free_keys
    from gone g;

    if v_with_errors is not null then
        delete from underway.attempt a where a.task = any (v_with_errors);
    end if;

    if v_freed is not null then
        perform underway._free_keys(v_freed, v_free_queues, v_free_keys);
    end if;

    if v_followed is not null then
        perform underway._follow(v_followed, _finish.state);
    end if;

    if v_watched is not null then
        perform pg_notify('underway_finished', watched.id::text) from unnest(v_watched) as watched (id);
    end if;

    return coalesce(v_finished, '{}');
end;
$$;

comment on function underway._finish(bigint[], uuid[], underway.task_state, jsonb[]) is
    'Move the tasks that are still under these leases into the history, where it is kept; without leases, tasks that the'
    ' caller has locked. Returns their ids.';
