-- resume_schedule: continue a paused schedule with its next time. Times during the pause are skipped, not caught up.
--
-- Writes: schedule.
-- Calls: _clock, _lock_schedule, _next_time, _raise_schedule_not_found, _read_cron.
-- Raises: UW009 schedule_not_found.

create or replace function underway.resume_schedule(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_schedule underway.schedule;
    v_next_at  timestamptz;
begin
    v_schedule := underway._lock_schedule(resume_schedule.name);

    if v_schedule.name is null then
        perform underway._raise_schedule_not_found(resume_schedule.name);
    elsif v_schedule.paused_at is null then
        return false;
    end if;

    v_next_at := underway._next_time(
        underway._read_cron(v_schedule.cron, v_schedule.anchored_at),
        v_schedule.time_zone,
        greatest(underway._clock(), v_schedule.last_at),
        v_schedule.starts_at,
        v_schedule.ends_at
    );

    update underway.schedule s
    set
        paused_at = null,
        next_at = v_next_at,
        check_at = v_next_at
    where s.name = resume_schedule.name;

    return true;
end;
$$;

comment on function underway.resume_schedule(text) is
    'Continue a paused schedule with its next time; times during the pause are skipped. Returns false if it was not'
    ' paused.';
