-- reprioritize: give a pending task another priority. It queues behind the tasks of that priority that are ready now.
--
-- Writes: task.
-- Calls: _check_priority, _earliest_ready_at, _ensure_priority, _raise_wrong_state.
-- Raises: UW001 invalid_argument, UW004 task_not_found, UW005 wrong_state.

create or replace function underway.reprioritize(task bigint, priority integer)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    perform underway._check_priority(reprioritize.priority);

    update underway.task t
    set
        parked = false,
        priority = reprioritize.priority,
        ready_at = greatest(t.ready_at, underway._earliest_ready_at(t.queue, reprioritize.priority))
    where t.id = reprioritize.task
      and t.state = 'pending';

    if found then
        perform underway._ensure_priority(t.queue, t.priority) from underway.task t where t.id = reprioritize.task;
    else
        perform underway._raise_wrong_state(reprioritize.task, 'can be reprioritized', 'pending');
    end if;
end;
$$;

comment on function underway.reprioritize(bigint, integer) is
    'Give a pending task another priority; higher runs first. It queues behind the tasks of that priority that are ready.';
