-- _record_counts: count the tasks of each queue for all readers, where counting reads many rows.
--
-- Problem: people, dashboards and metrics ask for counts at any time, and a count reads up to 10,000 entries of each queue, and
-- under a long snapshot the dead entries of all leases of the last minute.
-- Idea: while the live table has few rows, dead ones included, each reader counts by itself, exactly. Otherwise the
-- session that does the chores counts for all, once a second, or at longer intervals if that takes more than a fiftieth
-- of the time.
--
-- Writes: last_count.
-- Calls: _clock, _count_tasks.

create or replace function underway._record_counts()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_table  oid := 'underway.task'::regclass;
    v_counts underway.queue_count[];
    v_pause  interval;
begin
    if pg_stat_get_live_tuples(v_table) + pg_stat_get_dead_tuples(v_table) <= 20000 then
        delete from underway.last_count c where c.counted_at >= '-infinity';
        return;
    end if;

    if exists (select from underway.last_count c where c.counted_at <= v_now and c.next_at > v_now) then
        return;
    end if;

    -- The chores take lapsed leases back, so no running task has a lease that lapsed a minute ago.
    v_counts := array(
        select c::underway.queue_count
        from underway._count_tasks(leases_from => v_now - interval '1 minute') c
        where c.ready + c.scheduled + c.in_progress + c.waiting + c.parked + c.expired + c.dead_letters > 0
    );
    v_pause := greatest(interval '0.9 seconds', 50 * (underway._clock() - v_now));

    delete from underway.last_count c where c.counted_at >= '-infinity';
    insert into underway.last_count (counted_at, next_at, valid_until, counts)
    values (v_now, v_now + v_pause, v_now + 2 * v_pause + interval '3 seconds', v_counts);
end;
$$;

comment on function underway._record_counts() is
    'Count the tasks of each queue for all readers, where counting reads many rows. A chore of maintain().';
