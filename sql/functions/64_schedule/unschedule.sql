-- unschedule: remove a schedule. The tasks that it has enqueued stay.
--
-- Writes: schedule.
-- Calls: _lock_schedule.

create or replace function underway.unschedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._lock_schedule(unschedule.name);

    delete from underway.schedule s where s.name = unschedule.name;
    return found;
end;
$$;

comment on function underway.unschedule(text) is
    'Remove a schedule; the tasks that it has enqueued stay. Returns false if it did not exist.';
