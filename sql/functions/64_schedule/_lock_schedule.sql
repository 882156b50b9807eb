-- _lock_schedule: lock the row of a schedule until the transaction ends. Returns nulls if it does not exist.
--
-- Writes: nothing.
-- Calls: nothing.

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
        -- While this session waited for the lock, another one may have deleted the row and inserted it again.
        exit when found or not exists (select from underway.schedule s where s.name = _lock_schedule.name);
    end loop;

    return v_schedule;
end;
$$;

comment on function underway._lock_schedule(text) is
    'Lock the row of a schedule until the transaction ends, and return it; nulls if it does not exist.';
