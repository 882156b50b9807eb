-- _keep_statistics: count what has happened to tasks, record the depth of the queues, and remove what has expired.
--
-- One session at a time. Not at a repeatable-read snapshot, which may not show what other sessions have counted. An error
-- does not stop the other chores of maintain().
--
-- Writes: stat_position.
-- Calls: _check_queues, _count_enqueued, _observe_positions, _one_in, _prune_events, _prune_moved, _prune_statistics,
--   _record_counts, _roll_up, _sample_depth.

create or replace function underway._keep_statistics()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settled_task bigint;
    v_settled_end  bigint;
    v_sqlstate     text;
    v_message      text;
begin
    if current_setting('transaction_isolation') <> 'read committed'
       or not pg_try_advisory_xact_lock(hashtextextended('underway.statistics', 0)) then
        return null;
    end if;

    begin
        select o.settled_task, o.settled_end into v_settled_task, v_settled_end from underway._observe_positions() o;
        perform underway._count_enqueued(v_settled_task);

        -- Later statements see all rows up to v_settled_end that are not deleted.
        if (select r.complete from underway._roll_up() r) then
            update underway.stat_position p
            set counted_end = v_settled_end
            where p.only_row
              and p.counted_end < v_settled_end;
        end if;

        perform underway._record_counts();
        if underway._sample_depth() then
            perform underway._check_queues();
        end if;
        if underway._one_in(30) then
            perform underway._prune_statistics();
            perform underway._prune_events();
            perform underway._prune_moved();
        end if;
    exception
        when data_exception or integrity_constraint_violation or transaction_rollback or insufficient_resources
            or program_limit_exceeded or object_not_in_prerequisite_state or undefined_table or internal_error then
            get stacked diagnostics v_sqlstate = returned_sqlstate, v_message = message_text;
            return format('%s: %s', v_sqlstate, v_message);
    end;

    return null;
end;
$$;

comment on function underway._keep_statistics() is
    'The chores of maintain() that concern statistics and events. Returns the error that stopped them, or null.';
