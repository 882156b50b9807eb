-- _lock_schedule: have the row of a schedule for oneself until the transaction ends; nulls when there is none.
--
-- Writes: nothing.
-- Calls: schedule.

create or replace function underway._lock_schedule(name text)
returns underway.schedule
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule underway.schedule;
begin
    loop
        select s.* into v_schedule from underway.schedule s where s.name = _lock_schedule.name for no key update;
        -- While this waited, the row may have been removed and another of the name made.
        exit when found or not exists (select from underway.schedule s where s.name = _lock_schedule.name);
    end loop;

    return v_schedule;
end;
$$;

comment on function underway._lock_schedule(text) is
    'Lock the row of a schedule until the transaction ends, and return it; nulls when there is none.';
