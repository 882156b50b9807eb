-- _fail_dependents: a task that others come after has not succeeded; they fail with it, and leave dead letters like others.
--
--   waiting -> failed
--
-- Writes: task.

create or replace function underway._fail_dependents(tasks bigint[])
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on -- off where tasks are settled
as $$
declare
    v_now      timestamptz := underway._clock();
    v_failed   bigint[];
    v_in_batch bigint[];
begin
    select array_agg(t.id), array_agg(t.id) filter (where t.in_batch)
    into v_failed, v_in_batch
    from underway.task t
    where t.id = any (_fail_dependents.tasks)
      and t.state = 'waiting';

    if v_failed is null then
        return '{}';
    end if;

    -- Who follows them learns of it from the caller.
    update underway.task t
    set
        in_batch = false,
        errors = underway._append_error(t.errors, jsonb_build_object(
            'type', 'DependencyFailed',
            'message', format('task %s, which it comes after, is %s', m.task, m.outcome),
            'attempt', 0, 'failed_at', v_now
        ))
    from underway.dependent f
    cross join lateral (
        select ended.task, ended.outcome
        from underway.batch_task ended
        where ended.batch = f.batch
          and ended.outcome is not null
        order by ended.task
        limit 1
    ) m
    where t.id = any (v_failed)
      and f.task = t.id;

    perform underway._dead_letter(v_failed);
    perform underway._finish(v_failed, null, 'failed');

    return underway._record_outcomes(v_in_batch, 'failed');
end;
$$;

comment on function underway._fail_dependents(bigint[]) is
    'Fail those of these tasks that still wait; the caller has locked them. Returns the batches that have to be looked at'
    ' for it.';
