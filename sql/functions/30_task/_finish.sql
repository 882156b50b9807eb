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
set search_path = pg_catalog, pg_temp
begin atomic
    -- Days since 1970 in UTC. The ring takes twenty days from now; the slots after them are being emptied (_prune).
    select case
        when floor(extract(epoch from expires_at) / 86400) - floor(extract(epoch from now) / 86400) < 20
            then mod(floor(extract(epoch from expires_at) / 86400)::bigint, 32)
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
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
as $$
declare
    v_now         timestamptz := underway._clock();
    v_finished    bigint[];
    v_with_errors bigint[];
    v_watched     bigint[];
begin
    -- The array is looked up in the index in the order of ids, whatever the statistics say: a join with the batch may
    -- be turned round, and read the table for each row of it. So two batches never wait for each other in a circle,
    -- either. The coalesce keeps the pairs from becoming such a join: they are hashed, and looked up.
    with gone as (
        delete from underway.task t
        where t.id = any (_finish.tasks)
          and (_finish.leases is null or coalesce(
              (t.id, t.lease) in (select unnest(_finish.tasks), unnest(_finish.leases)), false
          ))
        returning t.*
    ),
    finished as (
        insert into underway.task_history (
            id, queue, job, state, priority, attempt, worker, input, output, headers, errors, dead_letter,
            retry_policy, timeout, heartbeat, ttl, enqueued_at, started_at, finished_at, expires_at, expires_slot
        )
        select
            g.id, g.queue, g.job, _finish.state, g.priority, g.attempt, g.worker, g.input, given.output, g.headers,
            case when g.has_errors then (
                select jsonb_agg(a.error order by a.failed_at) from underway.attempt a where a.task = g.id
            ) end,
            g.dead_letter, g.retry_policy, g.timeout, g.heartbeat, g.ttl, g.enqueued_at, g.started_at, v_now,
            v_now + until.ttl, underway._history_slot(v_now + until.ttl, v_now)
        from gone g
        left join (
            select distinct on (batch.task, batch.lease) batch.task, batch.lease, batch.output
            from unnest(_finish.tasks, _finish.leases, _finish.outputs) as batch (task, lease, output)
            order by batch.task, batch.lease
        ) given on given.task = g.id and given.lease = g.lease
        cross join lateral (
            select coalesce(g.ttl, (select q.ttl from underway.queue q where q.name = g.queue), '14 days')
        ) as until (ttl)
    )
    select array_agg(g.id), array_agg(g.id) filter (where g.has_errors), array_agg(g.id) filter (where g.watched)
    into v_finished, v_with_errors, v_watched
    from gone g;

    if v_with_errors is not null then
        delete from underway.attempt a where a.task = any (v_with_errors);
    end if;

    if v_watched is not null then
        perform pg_notify('underway_finished', watched.id::text) from unnest(v_watched) as watched (id);
    end if;

    return coalesce(v_finished, '{}');
end;
$$;

comment on function underway._finish(bigint[], uuid[], underway.task_state, jsonb[]) is
    'Move the tasks that are still under these leases into the history; without leases, tasks that the caller has locked.'
    ' Returns their ids.';
