-- _fail_dependents: fail waiting tasks because a task that they come after has not succeeded. They leave dead letters as
-- other failed tasks do.
--
--   waiting -> failed
--
-- Writes: task.
-- Calls: _append_error, _clock, _dead_letter, _finish, _record_ends, _record_failures.

create or replace function underway._fail_dependents(tasks bigint[])
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_failed   bigint[];
    v_errors   jsonb[];
    v_finished underway.finish_result;
begin
    with failed as (
        update underway.task t
        set errors = underway._append_error(t.errors, jsonb_build_object(
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
        where t.id = any (_fail_dependents.tasks)
          and t.state = 'waiting'
          and f.task = t.id
        returning t.id, t.errors -> -1 as error
    )
    select array_agg(f.id), array_agg(f.error) into v_failed, v_errors from failed f;

    if v_failed is null then
        return '{}';
    end if;

    perform underway._dead_letter(v_failed);
    perform underway._record_failures(v_failed, v_errors, 'task_failed');
    v_finished := underway._finish(v_failed, null, 'failed');
    return underway._record_ends(v_finished.with_effects, 'failed');
end;
$$;

comment on function underway._fail_dependents(bigint[]) is
    'Fail those of these tasks that still wait; the caller has locked them. Returns the batches that have to be evaluated'
    ' for it.';
