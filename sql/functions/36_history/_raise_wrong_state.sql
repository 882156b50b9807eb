-- _raise_wrong_state: refuse an operation that the state of a task does not allow, or that names no task.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW004 task_not_found, UW005 wrong_state.

create or replace function underway._raise_wrong_state(task bigint, verb text, states text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_state underway.task_state;
    v_moved underway.moved_task;
begin
    select t.state into v_state from underway.task t where t.id = _raise_wrong_state.task;
    if not found then
        select h.state into v_state from underway.task_history h where h.id = _raise_wrong_state.task;
    end if;

    if not found then
        select m.* into v_moved from underway.moved_task m where m.id = _raise_wrong_state.task;
        if found then
            raise exception using
                errcode = 'UW004',
                message = format('task %s was moved to shard %s at %s', v_moved.id, v_moved.shard, v_moved.moved_at),
                detail = json_build_object('shard', v_moved.shard),  -- for programs
                hint = 'Ask the database of that shard.';
        end if;

        raise exception using
            errcode = 'UW004',
            message = format('task %s does not exist', _raise_wrong_state.task),
            hint = 'It was deleted, its retention is over, its transaction was rolled back, or its transaction is not'
                ' committed yet.';
    end if;

    raise exception using
        errcode = 'UW005',
        message = format('task %s is %s', _raise_wrong_state.task, v_state),
        hint = format('Only a task that is %s %s.', _raise_wrong_state.states, _raise_wrong_state.verb);
end;
$$;

comment on function underway._raise_wrong_state(bigint, text, text) is
    'Refuse an operation that the state of a task does not allow, or that names no task.';
