-- _take_slots: mark the running tasks of a queue that has got its first max_running as holding slots. The caller holds the
-- claim lock of the queue exclusively, so no task begins meanwhile. The marks stay when the limit is taken away.
--
-- Rows are locked in the order of ids, as settlements do, and not waited for longer than two seconds: a handler may have
-- completed a task in a transaction that stays open, and settlements of the others wait meanwhile.
--
-- Writes: queue, task.
-- Calls: nothing.
-- Raises: UW015 task_locked.

create or replace function underway._take_slots(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set lock_timeout = '2s'
as $$
declare
    v_running bigint[];
begin
    v_running := array(
        select t.id
        from underway.task t
        where t.queue = _take_slots.queue
          and t.state = 'in_progress'
        order by t.id
        for no key update
    );

    update underway.queue q set has_slots = true where q.name = _take_slots.queue;
    update underway.task t set holds_slot = true where t.id = any (v_running) and not t.holds_slot;
exception
    when lock_not_available then
        raise exception using
            errcode = 'UW015',
            message = format('a running task of queue %L is locked by another transaction', _take_slots.queue),
            hint = 'Nothing was changed. Set max_running again when that transaction has ended; pg_locks shows it.';
end;
$$;

comment on function underway._take_slots(text) is 'Let the running tasks of a queue hold slots of its first max_running.';
