-- pause_schedule: stop a schedule from enqueueing tasks until it is resumed.
--
-- Writes: schedule.
-- Calls: _clock, _lock_schedule, _raise_schedule_not_found.
-- Raises: UW009 schedule_not_found.

create or replace function underway.pause_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._lock_schedule(pause_schedule.name);

    update underway.schedule s
    set
        paused_at = underway._clock(),
        check_at = null
    where s.name = pause_schedule.name
      and s.paused_at is null;

    if found then
        return true;
    end if;

    if not exists (select from underway.schedule s where s.name = pause_schedule.name) then
        perform underway._raise_schedule_not_found(pause_schedule.name);
    end if;

    return false;
end;
$$;

comment on function underway.pause_schedule(text) is
    'Stop a schedule from enqueueing tasks until it is resumed. Returns false if it was paused already.';
