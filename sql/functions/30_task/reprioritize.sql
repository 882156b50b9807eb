-- reprioritize: a pending task gets another priority.
--
-- Writes: task.
-- Refuses: UW001 invalid_argument, UW004 task_not_found, UW005 wrong_state.

create or replace function underway.reprioritize(task bigint, priority integer)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_queue text;
begin
    if reprioritize.priority is null then
        raise exception using
            errcode = 'UW001',
            message = 'priority is null',
            hint = 'Give an integer; 0 is the default, and higher runs first.';
    end if;

    update underway.task t
    set priority = reprioritize.priority
    where t.id = reprioritize.task
      and t.state = 'pending'
    returning t.queue into v_queue;

    if not found then
        perform underway._wrong_state(reprioritize.task, 'is reprioritized', 'pending');
    end if;

    perform underway._open_lane(v_queue, reprioritize.priority);
end;
$$;

comment on function underway.reprioritize(bigint, integer) is
    'Give a pending task another priority; higher runs first.';
