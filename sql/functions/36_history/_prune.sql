-- _prune: remove finished tasks whose retention is over.
--
-- Writes: task_history.
-- Calls: _clock.

create or replace function underway._prune(max_tasks integer default 1000)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_today  integer := floor(extract(epoch from v_now) / 86400);
    v_slot   text;
    v_pruned integer;
begin
    -- The ring uses the days from yesterday (for clocks and midnights) to the nineteenth from now (_history_slot). The
    -- other slots hold expired tasks only. Truncating never waits: a slot that another session reads is skipped until the
    -- next call. After more than eleven days without a call, expired tasks stay for another turn of the ring.
    -- One session at a time: even reading the size of a slot would wait for a session that truncates it.
    for v_day in v_today - 12 .. v_today - 2 loop
        exit when not pg_try_advisory_xact_lock(hashtext('underway.task_history'));
        v_slot := 'task_history_' || to_char(mod(v_day, 32), 'FM00');
        if pg_relation_size(format('underway.%I', v_slot)) > 0 then
            begin
                execute format('lock table underway.%I in access exclusive mode nowait', v_slot);
                execute format('truncate underway.%I', v_slot);
            exception when lock_not_available then
                null;
            end;
        end if;
    end loop;

    delete from underway.task_history_later h
    where h.ctid = any (array(
        select expired.ctid
        from underway.task_history_later expired
        where expired.kept_until <= v_now
        order by expired.kept_until
        limit _prune.max_tasks
        for update skip locked
    ));
    get diagnostics v_pruned = row_count;

    return v_pruned;
end;
$$;

comment on function underway._prune(integer) is
    'Empty the expired days of the history, and delete at most max_tasks expired tasks among those kept for longer.'
    ' Returns how many tasks were deleted one by one.';
