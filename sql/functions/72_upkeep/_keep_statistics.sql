-- _keep_statistics: count what has happened to tasks, record the depth of the queues, and remove what has expired.
--
-- One session at a time. Not at a repeatable-read snapshot, which may not show what other sessions have counted.
--
-- Writes: stat_position.
-- Calls: _count_enqueued, _observe_positions, _one_in, _prune_events, _prune_statistics, _roll_up, _sample_depth.

create or replace function underway._keep_statistics()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settled_task bigint;
    v_settled_end  bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed'
       or not pg_try_advisory_xact_lock(hashtextextended('underway.statistics', 0)) then
        return;
    end if;

    select o.settled_task, o.settled_end into v_settled_task, v_settled_end from underway._observe_positions() o;
    perform underway._count_enqueued(v_settled_task);

    -- Later statements see all rows up to v_settled_end that are not deleted.
    if (select r.complete from underway._roll_up() r) then
        update underway.stat_position p
        set counted_end = v_settled_end
        where p.only_row
          and p.counted_end < v_settled_end;
    end if;

    perform underway._sample_depth();
    if underway._one_in(10) then
        perform underway._prune_statistics();
        perform underway._prune_events();
    end if;
end;
$$;

comment on function underway._keep_statistics() is 'The chores of maintain() that concern statistics and events.';
