-- _sample_depth: record how many tasks each queue has, once a minute.
--
-- Writes: queue_depth.
-- Calls: _clock.

create or replace function underway._sample_depth()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_minute timestamptz := date_bin('1 minute', v_now, 'epoch');
begin
    if exists (select from underway.queue_depth d where d.at = v_minute) then
        return;
    end if;

    insert into underway.queue_depth (at, queue, ready, scheduled, in_progress, waiting, oldest_ready_seconds)
    select
        v_minute, t.queue,
        count(*) filter (where t.state = 'pending' and t.ready_at <= v_now),
        count(*) filter (where t.state = 'pending' and t.ready_at > v_now),
        count(*) filter (where t.state = 'in_progress'),
        count(*) filter (where t.state = 'waiting'),
        extract(epoch from v_now - min(t.ready_at) filter (where t.state = 'pending' and not t.parked and t.ready_at <= v_now))
    from underway.task t
    group by t.queue
    on conflict do nothing;
end;
$$;

comment on function underway._sample_depth() is 'Record how many tasks each queue has in this minute.';
