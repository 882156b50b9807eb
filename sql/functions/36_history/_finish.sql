-- _finish: move tasks from the live table into the history. Every final state is reached here, and only from _conclude
-- and the functions that it calls: what a finished task releases is theirs to do.
--
--   in_progress -> succeeded | failed
--   waiting -> failed
--   pending | waiting | in_progress -> cancelled
--
-- It has no search_path of its own, nor has _conclude: setting one costs a completion 2%, and the public function that
-- is being executed has set it.
--
-- Writes: task, task_history, uncounted.
-- Calls: _clock, _job_retentions.

create or replace function underway._history_slot(kept_until timestamptz, now timestamptz)
returns smallint
language sql
immutable
begin atomic
    -- Days since 1970 in UTC, whose name would have to be looked up for each task. The ring takes twenty days from now; the
    -- slots after them are being emptied (_prune). No pinned search_path: the names are bound already, and a pinned one would
    -- prevent inlining.
    select case
        when (kept_until at time zone interval '0')::date - (now at time zone interval '0')::date < 20
            then mod((kept_until at time zone interval '0')::date - date '1970-01-01', 32)
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
    v_result underway.finish_result;
begin
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
            t.ready_at, t.watched, t.in_batch, t.holds_slot, t.parked, t.queue, t.concurrency_key, t.unique_key, t.job,
            t.priority, t.attempt, t.worker, t.enqueued_at, t.started_at, t.expires_at, t.input, t.headers, t.errors,
            t.dead_letter,
            t.retry_policy, t.timeout, t.heartbeat, t.retention, batch.output
    ),
    finished as (
        insert into underway.task_history (
            id, queue, unique_key, concurrency_key, job, state, priority, attempt, worker, input, output, headers,
            errors, dead_letter, retry_policy, timeout, heartbeat, retention, enqueued_at, started_at, finished_at,
            expires_at, reason, kept_until, kept_slot
        )
        select
            g.id, g.queue, g.unique_key, g.concurrency_key, g.job, _finish.state, g.priority, g.attempt, g.worker,
            case when q.brief then 'null' else g.input end, g.output, case when q.brief then null else g.headers end,
            case when q.brief then null else g.errors end, g.dead_letter, g.retry_policy, g.timeout, g.heartbeat,
            g.retention, g.enqueued_at, g.started_at, v_now, g.expires_at, _finish.reason,
            coalesce(q.kept_until, v_now + '14 days'),
            underway._history_slot(coalesce(q.kept_until, v_now + '14 days'), v_now)
        from gone g
        -- The limit makes this a look-up for each task: no wide rows are sorted or hashed. A queue without history keeps a
        -- success for a day at most, with its output: for tasks that come after it, and for clients that wait for it, whether
        -- they asked before it ended or later.
        left join lateral (
            select
                not one.keep_history and _finish.state = 'succeeded' as brief,
                v_now + coalesce(
                    g.retention,
                    case when one.jobs_have_retention then (underway._job_retentions() ->> g.job)::interval end,
                    case
                        when not one.keep_history and _finish.state = 'succeeded' then least(one.retention, '1 day')
                        else one.retention
                    end
                ) as kept_until
            from underway.queue one
            where one.name = g.queue
            limit 1
        ) q on true
    ),
    counted as (
        -- To be counted by maintain(). Counting here would cost more (docs/decisions/0030).
        insert into underway.uncounted (at, outcome, tasks, queue, job, started_at, ready_at)
        select v_now, coalesce(_finish.reason, _finish.state::text), count(*), g.queue, g.job, g.started_at,
            array_agg(g.ready_at)
        from gone g
        group by g.queue, g.job, g.started_at
    )
    select
        coalesce(array_agg(g.id), '{}'),
        array_agg(
            row(
                g.id, g.queue, g.concurrency_key, g.watched, g.in_batch, g.holds_slot, g.parked
            )::underway.finished_task
        ) filter (where g.has_effects)
    into v_result.tasks, v_result.with_effects
    from gone g;

    return v_result;
end;
$$;

comment on function underway._finish(bigint[], uuid[], underway.task_state, jsonb[], text) is
    'Move the tasks that are still under these leases (without leases: tasks that the caller has locked) into the history.'
    ' Returns the ids of all, and the tasks whose end has effects.';
