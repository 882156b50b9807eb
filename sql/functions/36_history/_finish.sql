-- _finish: move tasks from the live table into the history. Every final state is reached here, and only from _conclude
-- and the functions that it calls: what a finished task releases is theirs to do.
--
--   in_progress -> succeeded | failed
--   waiting -> failed
--   pending | waiting | in_progress -> cancelled
--
-- Writes: task, task_history, uncounted.
-- Calls: _clock, _job_retentions.

create or replace function underway._history_slot(kept_until timestamptz, now timestamptz)
returns smallint
language sql
immutable
begin atomic
    -- Days since 1970 in UTC. The ring takes twenty days from now; the slots after them are being emptied (_prune). No
    -- pinned search_path: the names are bound already, and a pinned one would prevent inlining.
    select case
        when (kept_until at time zone 'UTC')::date - (now at time zone 'UTC')::date < 20
            then mod((kept_until at time zone 'UTC')::date - date '1970-01-01', 32)
        else 32
    end::smallint;
end;

comment on function underway._history_slot(timestamptz, timestamptz) is
    'The partition of the history for a task that is kept until a time: its day in the ring, or 32 for later.';

create or replace function underway._finish(
    tasks bigint[],
    leases uuid[],
    state underway.task_state,
    outputs jsonb[] default null,
    reason text default null
)
returns underway.finish_result
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_hashjoin = off
set enable_mergejoin = on
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_queue  text; -- for the statistics
    v_job    text;
    v_started_at timestamptz;
    v_ready_at timestamptz[];
    v_others underway.ended_attempt[];
    v_result underway.finish_result;
begin
    -- For the statistics: most calls finish tasks of one queue, job and claim, which are then stored once.
    if cardinality(_finish.tasks) > 10 then
        select t.queue, t.job, t.started_at into v_queue, v_job, v_started_at
        from underway.task t
        where t.id = _finish.tasks[1];
    end if;

    -- Rows are locked in the order of their ids, so that two batches never deadlock. A merge join keeps that order under
    -- every plan, whatever its outer side is. A hash join returns the order of its outer side, which may be the order of
    -- the arrays, and a nested loop may read the arrays once for each task.
    with gone as (
        delete from underway.task t
        using unnest(_finish.tasks, _finish.leases, _finish.outputs) as batch (task, lease, output)
        where t.id = any (_finish.tasks)
          and batch.task = t.id
          and (_finish.leases is null or t.lease = batch.lease)
        -- Columns that are read often come first: the server reads a row from its first column to the last that is needed.
        returning
            t.id, t.watched or t.in_batch or t.holds_slot or t.concurrency_key is not null as has_effects,
            t.started_at = v_started_at and t.queue = v_queue and t.job is not distinct from v_job as is_alike,
            t.ready_at, t.watched, t.in_batch, t.holds_slot, t.parked, t.queue, t.concurrency_key, t.unique_key, t.job,
            t.priority, t.attempt, t.worker, t.enqueued_at, t.started_at, t.expires_at, t.input, t.headers, t.errors, t.dead_letter,
            t.retry_policy, t.timeout, t.heartbeat, t.retention, batch.output
    ),
    setting as (
        select
            q.name, x.brief, v_now + x.retention as kept_until,
            underway._history_slot(v_now + x.retention, v_now) as kept_slot,
            case when q.jobs_have_retention then underway._job_retentions() end as of_jobs
        from underway.queue q
        cross join lateral (
            -- A queue without history keeps a success for a day at most, with its output: for tasks that come after it, and
            -- for clients that wait for it, whether they asked before it ended or later.
            select
                b.brief, case when b.brief then least(q.retention, '1 day') else q.retention end as retention
            from (select not q.keep_history and _finish.state = 'succeeded' as brief) b
        ) x
        where q.name = any (array(select g.queue from gone g))
    ),
    finished as (
        insert into underway.task_history (
            id, queue, unique_key, concurrency_key, job, state, priority, attempt, worker, input, output, headers,
            errors, dead_letter, retry_policy, timeout, heartbeat, retention, enqueued_at, started_at, finished_at,
            expires_at, reason, kept_until, kept_slot
        )
        select
            g.id, g.queue, g.unique_key, g.concurrency_key, g.job, _finish.state, g.priority, g.attempt, g.worker,
            case when s.brief then 'null' else g.input end, g.output, case when s.brief then null else g.headers end,
            case when s.brief then null else g.errors end, g.dead_letter, g.retry_policy, g.timeout, g.heartbeat,
            g.retention, g.enqueued_at, g.started_at, v_now, g.expires_at, _finish.reason,
            coalesce(v_now + x.retention, s.kept_until, v_now + interval '14 days'),
            case
                when x.retention is null then coalesce(s.kept_slot, underway._history_slot(v_now + '14 days', v_now))
                else underway._history_slot(v_now + x.retention, v_now)
            end
        from gone g
        left join setting s on s.name = g.queue
        cross join lateral (
            select coalesce(g.retention, (s.of_jobs ->> g.job)::interval) as retention
        ) x
    )
    select
        coalesce(array_agg(g.id), '{}'),
        array_agg(
            row(
                g.id, g.queue, g.concurrency_key, g.watched, g.in_batch, g.holds_slot, g.parked
            )::underway.finished_task
        ) filter (where g.has_effects),
        array_agg(g.ready_at) filter (where g.is_alike),
        array_agg(
            row(g.started_at, g.ready_at, g.queue, g.job)::underway.ended_attempt
        ) filter (where g.is_alike is not true)
    into v_result.tasks, v_result.with_effects, v_ready_at, v_others
    from gone g;

    -- To be counted by maintain(). Counting here would cost more (docs/decisions/0030).
    if v_result.tasks <> '{}' then
        insert into underway.uncounted (at, outcome, tasks, queue, job, started_at, ready_at, others)
        values (
            v_now, coalesce(_finish.reason, _finish.state::text), cardinality(v_result.tasks), v_queue, v_job, v_started_at,
            v_ready_at, v_others
        );
    end if;

    return v_result;
end;
$$;

comment on function underway._finish(bigint[], uuid[], underway.task_state, jsonb[], text) is
    'Move the tasks that are still under these leases (without leases: tasks that the caller has locked) into the history.'
    ' Returns the ids of all, and the tasks whose end has effects.';
