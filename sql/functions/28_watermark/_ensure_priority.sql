-- _ensure_priority: note that a priority of a queue is in use, so that claims look there; returns from when on a task of it
-- may be ready.
--
-- Writes: queue_priority, watermark.

create or replace function underway._earliest_ready_at(queue text, priority integer, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Never below the floor, where no claim looks: the clock may have been put back.
    return greatest(_earliest_ready_at.now, (
        select f.ready_at
        from underway.watermark f
        where f.queue = _earliest_ready_at.queue
          and f.priority = _earliest_ready_at.priority
        order by f.noted_by desc
        limit 1
    ));
end;
$$;

comment on function underway._earliest_ready_at(text, integer, timestamptz) is
    'From when on a task of a queue and priority may be ready: from now (as _clock_after_xid told), and never before what'
    ' claims have passed. For the queue '''': from when on a lease may last.';

create or replace function underway._ensure_priority(queue text, priority integer, now timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two transactions may both add the rows; nothing is unique here, so neither waits for the other.
    if not exists (
        select from underway.queue_priority l where l.queue = _ensure_priority.queue and l.priority = _ensure_priority.priority
    ) then
        insert into underway.queue_priority (queue, priority) values (_ensure_priority.queue, _ensure_priority.priority);
        insert into underway.watermark (queue, priority, ready_at, noted_at, noted_by)
        values (_ensure_priority.queue, _ensure_priority.priority, '-infinity', '-infinity', pg_current_xact_id());
    end if;

    return underway._earliest_ready_at(_ensure_priority.queue, _ensure_priority.priority, _ensure_priority.now);
end;
$$;

comment on function underway._ensure_priority(text, integer, timestamptz) is
    'Note that a priority of a queue is in use; waits for nobody. Returns from when on a task of it may be ready.';
