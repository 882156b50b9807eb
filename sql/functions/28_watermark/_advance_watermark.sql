-- _advance_watermark: claims have come this far; nothing behind them will ever be pending again.
--
-- A time is over for a lane once every transaction has ended that may still make a task ready before it. Each of those
-- has its id before it looks at the clock (_clock_after_xid). So whoever raises a floor notes a time from before its own
-- id, with that id; when no transaction of that id or a lower one runs any more, all that will yet become ready
-- becomes ready later than the noted time. What was made ready earlier is seen by then, and the oldest of it that is
-- still pending, perhaps because a claim is not committed or was rolled back, bounds the floor too.
--
-- Writes: watermark.

create or replace function underway._usable_watermark(queue text, priority integer)
returns underway.watermark
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_last underway.watermark;
begin
    select f.*
    into v_last
    from underway.watermark f
    where f.queue = _usable_watermark.queue
      and f.priority = _usable_watermark.priority
    order by f.noted_by desc
    limit 1;

    -- Volatile, with statements of its own: whoever looks for the oldest task next sees at least what has ended now.
    if v_last.noted_by < pg_snapshot_xmin(pg_current_snapshot()) and v_last.noted_at < underway._clock_before_xid() then
        return v_last;
    end if;

    return null;
end;
$$;

comment on function underway._usable_watermark(text, integer) is
    'The floor of a lane, with a noted time that is over for all transactions; null while it is not.';

create or replace function underway._advance_watermark(last underway.watermark, oldest timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into underway.watermark (queue, priority, ready_at, noted_at, noted_by)
    values (
        (_advance_watermark.last).queue,
        (_advance_watermark.last).priority,
        greatest((_advance_watermark.last).ready_at, least((_advance_watermark.last).noted_at, _advance_watermark.oldest)),
        underway._clock_before_xid(),
        pg_current_xact_id()
    );

    delete from underway.watermark f
    where f.ctid = any (array(
        select earlier.ctid
        from underway.watermark earlier
        where earlier.queue = (_advance_watermark.last).queue
          and earlier.priority = (_advance_watermark.last).priority
          and earlier.noted_by <= (_advance_watermark.last).noted_by
        for update skip locked
    ));
end;
$$;

comment on function underway._advance_watermark(underway.watermark, timestamptz) is
    'Raise a floor to the time noted in the last one, or to the oldest task that is still there; waits for nobody.';
