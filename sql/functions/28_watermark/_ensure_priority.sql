-- _ensure_priority: record that a priority of a queue is in use, so that claims look there.
--
-- Writes: queue_priority.
-- Calls: nothing.

create or replace function underway._ensure_priority(queue text, priority integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two transactions may both insert the row: nothing is unique here, so neither waits for the other.
    if not exists (
        select
        from underway.queue_priority p
        where p.queue = _ensure_priority.queue
          and p.priority = _ensure_priority.priority
    ) then
        insert into underway.queue_priority (queue, priority)
        values (_ensure_priority.queue, _ensure_priority.priority);
    end if;
end;
$$;

comment on function underway._ensure_priority(text, integer) is
    'Record that a priority of a queue is in use. Waits for nobody.';
