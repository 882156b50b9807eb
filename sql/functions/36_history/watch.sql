-- watch: ask for a notification when a task reaches its final state.
--
-- Writes: task.
-- Calls: _raise_wrong_state.
-- Raises: UW004 task_not_found.

create or replace function underway.watch(task bigint)
returns underway.task_state
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_state underway.task_state;
begin
    -- A locked row may be in a long transaction of its handler. It is skipped: clients read the state again anyway.
    update underway.task t
    set watched = true
    where t.ctid = any (array(
        select seen.ctid
        from underway.task seen
        where seen.id = watch.task
          and not seen.watched
        for no key update skip locked
    ));

    select t.state into v_state from underway.task t where t.id = watch.task;

    if not found then
        select h.state into v_state from underway.task_history h where h.id = watch.task;
    end if;

    if not found then
        perform underway._raise_wrong_state(watch.task, 'is watched', 'live or in the history');
    end if;

    return v_state;
end;
$$;

comment on function underway.watch(bigint) is
    'Request a notification on the channel underway_finished, with the id of the task, when the task is final. Returns its'
    ' state now; if that is final, no notification follows. Listen first, then watch, and read the state again at times.';
