-- _advance_queue_watermark: raise the floor of a lane to where its oldest pending task is.
--
-- Writes: nothing.

create or replace function underway._advance_queue_watermark(queue text, priority integer)
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
    v_last underway.watermark := underway._usable_watermark(_advance_queue_watermark.queue, _advance_queue_watermark.priority);
begin
    if v_last.queue is null then
        return;
    end if;

    perform underway._advance_watermark(v_last, (
        select t.ready_at
        from underway.task t
        where t.queue = _advance_queue_watermark.queue
          and t.priority = _advance_queue_watermark.priority
          and t.state = 'pending'
          and not t.parked
          and t.ready_at >= v_last.ready_at
          and t.ready_at < v_last.noted_at
        order by t.ready_at, t.id
        limit 1
    ));
end;
$$;

comment on function underway._advance_queue_watermark(text, integer) is
    'Raise the floor of a lane to where its oldest pending task is, as far as all transactions are past it.';
