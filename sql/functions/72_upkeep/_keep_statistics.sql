-- _keep_statistics: count what has happened to tasks, record the depth of the queues, and remove what has expired.
--
-- One session at a time. Not at a repeatable-read snapshot, which may not show what other sessions have counted.
--
-- Writes: nothing.
-- Calls: _count_enqueued, _one_in, _prune_events, _prune_statistics, _sample_depth.

create or replace function underway._keep_statistics()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed'
       or not pg_try_advisory_xact_lock(hashtextextended('underway.statistics', 0)) then
        return;
    end if;

    perform underway._count_enqueued();
    perform underway._sample_depth();
    if underway._one_in(10) then
        perform underway._prune_statistics();
        perform underway._prune_events();
    end if;
end;
$$;

comment on function underway._keep_statistics() is 'The chores of maintain() that concern statistics and events.';
