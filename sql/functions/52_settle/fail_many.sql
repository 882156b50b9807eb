-- fail_many: the holder reports attempts that failed. What may be tried again waits; the rest fails for good and
-- leaves a dead letter where its queue has a dead-letter queue.
--
--   in_progress -> pending | failed
--
-- Writes: task.
-- Raises: UW001 invalid_argument.

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
as $$
declare
    v_now          timestamptz := underway._clock_after_xid();
    v_held         record;
    v_failed       underway.failed_task;
    v_final_tasks  bigint[] := '{}';
    v_final_leases uuid[] := '{}';
begin
    perform underway._check_leases(fail_many.tasks, fail_many.leases);
    perform underway._check_interval('retry_after', given.value, '0')
    from unnest(fail_many.retry_after) as given (value);

    for v_held in
        select
            t.id, t.queue, t.concurrency_key, t.limited, t.priority, t.lease, t.attempt, given.retry_after,
            underway._append_error(t.errors, underway._error(given.error) || jsonb_build_object(
                'attempt', t.attempt, 'started_at', t.started_at, 'failed_at', v_now
            )) as errors,
            coalesce(t.retry_policy, q.retry_policy) as retry_policy,
            coalesce(given.retryable, true) as retryable
        from (
            select distinct on (batch.task, batch.lease) *
            from unnest(
                fail_many.tasks, fail_many.leases, fail_many.errors, fail_many.retryable, fail_many.retry_after
            ) as batch (task, lease, error, retryable, retry_after)
            order by batch.task, batch.lease
        ) given
        cross join lateral (
            -- The limit keeps this a look-up for each row of the batch, whatever the statistics say.
            select *
            from underway.task held
            where held.id = given.task
              and held.lease = given.lease
            limit 1
            for no key update
        ) t
        join underway.queue q on q.name = t.queue
    loop
        if v_held.retryable and v_held.attempt < (v_held.retry_policy).max_attempts then
            v_failed := row(
                v_held.id, 'pending',
                underway._earliest_ready_at(v_held.queue, v_held.priority, v_now)
                    + coalesce(v_held.retry_after, underway.backoff(v_held.retry_policy, v_held.attempt))
            );

            update underway.task t
            set
                state = 'pending',
                ready_at = v_failed.ready_at,
                started_at = null,
                lease = null,
                lease_expires_at = null,
                errors = v_held.errors
            where t.id = v_held.id;

            if v_held.limited then
                perform underway._free_keys(array[v_held.id], array[v_held.queue], array[v_held.concurrency_key]);
            end if;
            perform underway._wake(v_held.queue, v_failed.ready_at - v_now);
        else
            v_failed := row(v_held.id, 'failed', null);
            v_final_tasks := v_final_tasks || v_held.id;
            v_final_leases := v_final_leases || v_held.lease;

            update underway.task t set errors = v_held.errors where t.id = v_held.id;
        end if;

        return next v_failed;
    end loop;

    if v_final_tasks <> '{}' then
        perform underway._dead_letter(v_final_tasks);
        perform underway._conclude(v_final_tasks, v_final_leases, 'failed');
    end if;
end;
$$;

comment on function underway.fail_many(bigint[], uuid[], jsonb[], boolean[], interval[]) is
    'Report a batch of failed attempts, each under its lease, with its error. Returns what became of each task that was'
    ' settled; the leases of the others are lost.';
