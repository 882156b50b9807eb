-- _sample_depth: record how many tasks each queue has, once a minute.
--
-- Only queues with live tasks have a row, at most a thousand, and all together one with an empty name.
--
-- Writes: queue_depth.
-- Calls: _clock, queue_counts.

create or replace function underway._sample_depth()
returns boolean
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
        return false;
    end if;

    with counted as materialized (
        select
            c.queue, c.ready + c.parked as ready, c.scheduled, c.in_progress, c.waiting,
            date_part('epoch', v_now) - date_part('epoch', c.oldest_ready_at) as oldest_ready_seconds
        from underway.queue_counts() c
    )
    insert into underway.queue_depth (at, queue, ready, scheduled, in_progress, waiting, oldest_ready_seconds)
    select v_minute, one.*
    from (
        select c.*
        from counted c
        where c.ready + c.scheduled + c.in_progress + c.waiting > 0
        order by c.ready + c.scheduled + c.in_progress + c.waiting desc, c.queue
        limit 1000
    ) one
    union all
    select
        v_minute, '', coalesce(sum(c.ready), 0), coalesce(sum(c.scheduled), 0), coalesce(sum(c.in_progress), 0),
        coalesce(sum(c.waiting), 0), max(c.oldest_ready_seconds)
    from counted c
    on conflict do nothing;

    return true;
end;
$$;

comment on function underway._sample_depth() is
    'Record how many tasks each queue has in this minute. Returns false if that was done already.';
