-- fail_many: the holder reports failed attempts. A task with attempts left is retried after its backoff; the others fail
-- for good, and leave a dead letter where their job or their queue has a dead-letter queue.
--
--   in_progress -> pending | failed
--
-- Writes: task.
-- Calls: _append_error, _check_interval, _check_leases, _clock, _conclude, _count_attempts,
--   _dead_letter, _error, _record_failures, _requeue, backoff.
-- Raises: UW001 invalid_argument.

create or replace function underway._add_errors(tasks bigint[], errors jsonb[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off -- it might read the arrays once for each task
set jit = off
as $$
begin
    update underway.task t
    set errors = underway._append_error(t.errors, given.error)
    from unnest(_add_errors.tasks, _add_errors.errors) as given (task, error)
    where t.id = any (_add_errors.tasks)
      and given.task = t.id;
end;
$$;

comment on function underway._add_errors(bigint[], jsonb[]) is
    'Add an error to each of these tasks, which the caller has locked.';

create or replace function underway.fail_many(
    tasks bigint[],
    leases uuid[],
    errors jsonb[],
    retryable boolean[] default null,
    retry_after interval[] default null
)
returns setof underway.failed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now          timestamptz := underway._clock();
    v_retry_tasks  bigint[];
    v_retry_at     timestamptz[];
    v_retry_errors jsonb[];
    v_final_tasks  bigint[];
    v_final_errors jsonb[];
begin
    perform underway._check_leases(fail_many.tasks, fail_many.leases);
    perform underway._check_interval('retry_after', given.value, '0')
    from unnest(fail_many.retry_after) as given (value);

    -- Lock the tasks that are still held, in the order of their ids, and decide for each.
    select
        array_agg(f.id) filter (where f.retried), array_agg(f.retry_at) filter (where f.retried),
        array_agg(f.error) filter (where f.retried),
        array_agg(f.id) filter (where not f.retried), array_agg(f.error) filter (where not f.retried)
    into v_retry_tasks, v_retry_at, v_retry_errors, v_final_tasks, v_final_errors
    from (
        select
            t.id, x.retried,
            case
                when x.retried then v_now + coalesce(given.retry_after, underway.backoff(x.retry_policy, t.attempt))
            end as retry_at,
            underway._error(given.error) || jsonb_build_object(
                'attempt', t.attempt, 'started_at', t.started_at, 'failed_at', v_now
            ) as error
        from (
            select distinct on (batch.task, batch.lease) *
            from unnest(
                fail_many.tasks, fail_many.leases, fail_many.errors, fail_many.retryable, fail_many.retry_after
            ) as batch (task, lease, error, retryable, retry_after)
            order by batch.task, batch.lease
        ) given
        cross join lateral (
            -- The limit keeps this a look-up for each row of the batch under a generic plan.
            select held.id, held.queue, held.job, held.attempt, held.started_at, held.retry_policy
            from underway.task held
            where held.id = given.task
              and held.lease = given.lease
            limit 1
            for no key update
        ) t
        join underway.queue q on q.name = t.queue
        left join underway.job j on j.name = t.job
        cross join lateral (
            select
                p.retry_policy,
                coalesce(given.retryable, true) and t.attempt < (p.retry_policy).max_attempts as retried
            from (select coalesce(t.retry_policy, j.retry_policy, q.retry_policy) as retry_policy) p
        ) x
    ) f;

    if v_retry_tasks is not null then
        perform underway._count_attempts(v_retry_tasks, 'retried');
        perform underway._record_failures(v_retry_tasks, v_retry_errors, 'attempt_failed');
        return query select * from underway._requeue(v_retry_tasks, v_retry_at, v_retry_errors);
    end if;

    if v_final_tasks is not null then
        perform underway._add_errors(v_final_tasks, v_final_errors);
        perform underway._dead_letter(v_final_tasks);
        perform underway._record_failures(v_final_tasks, v_final_errors, 'task_failed');
        return query
        select failed.id, 'failed'::underway.task_state, null::timestamptz
        from unnest(underway._conclude(v_final_tasks, null, 'failed')) as failed (id);
    end if;
end;
$$;

comment on function underway.fail_many(bigint[], uuid[], jsonb[], boolean[], interval[]) is
    'Report a batch of failed attempts, each under its lease, with its error. Returns the outcome of each task that was'
    ' settled: pending with the time of its retry, or failed; the leases of the others are lost.';
