-- _add_dependencies: let tasks that the caller has just enqueued wait until others have ended.
--
--   pending -> waiting
--
-- Writes: batch.
-- Calls: _add_to_batch, _block_tasks, _clock, _evaluate_batches.
-- Raises: UW001 invalid_argument, UW004 task_not_found, UW005 wrong_state.

create or replace function underway._add_dependencies(tasks bigint[], after bigint[], after_failure text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch bigint;
begin
    if coalesce(_add_dependencies.after_failure not in ('wait', 'fail', 'run'), true) then
        raise exception using
            errcode = 'UW001',
            message = format('after_failure is %L', _add_dependencies.after_failure),
            hint = 'When a task that it comes after does not succeed: wait for its retry, fail too, or run all the same.';
    end if;
    if exists (select from unnest(_add_dependencies.after) as given (id) where given.id is null) then
        raise exception using
            errcode = 'UW001',
            message = 'after has a null among its ids',
            hint = 'Give the ids of tasks, live or finished.';
    end if;
    if _add_dependencies.tasks = '{}' or coalesce(_add_dependencies.after, '{}') = '{}' then
        return;
    end if;

    -- An implicit batch of the tasks to wait for; the new tasks are its dependents.
    insert into underway.batch (created_at, retention, implicit)
    values (underway._clock(), '0', true)
    returning id into v_batch;

    perform underway._add_to_batch(v_batch, array(select distinct unnest(_add_dependencies.after)));
    perform underway._block_tasks(
        _add_dependencies.tasks, v_batch,
        case _add_dependencies.after_failure when 'run' then 'final' else 'success' end,
        _add_dependencies.after_failure = 'fail'
    );
    perform underway._evaluate_batches(array[v_batch]);
end;
$$;

comment on function underway._add_dependencies(bigint[], bigint[], text) is
    'Let new tasks wait until others have succeeded; after_failure decides what happens when one of those does not.';
