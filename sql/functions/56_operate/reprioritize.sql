-- reprioritize: give a pending task another priority. It queues behind the tasks of that priority that are ready now.
--
-- Writes: task.
-- Calls: _check_priority, _earliest_ready_at, _ensure_priority, _raise_wrong_state, _release_slots.
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
declare
    v_queue  text;
    v_key    text;
    v_parked boolean;
begin
    perform underway._check_priority(reprioritize.priority);

    select t.queue, t.concurrency_key, t.parked
    into v_queue, v_key, v_parked
    from underway.task t
    where t.id = reprioritize.task
      and t.state = 'pending'
    for no key update;

    if not found then
        perform underway._raise_wrong_state(reprioritize.task, 'can be reprioritized', 'pending');
    end if;

    update underway.task t
    set
        parked = false,
        priority = reprioritize.priority,
        ready_at = greatest(t.ready_at, underway._earliest_ready_at(t.queue, reprioritize.priority))
    where t.id = reprioritize.task;

    perform underway._ensure_priority(v_queue, reprioritize.priority);

    -- A parked task is never before the ready tasks of its key. This task was one of them and may now be behind.
    if v_key is not null and not v_parked then
        perform underway._release_slots(array[v_queue], array[v_key]);
    end if;
end;
$$;

comment on function underway.reprioritize(bigint, integer) is
    'Give a pending task another priority; higher runs first. It queues behind the tasks of that priority that are ready.';
