-- _earliest_ready_at: the earliest ready_at of a task that is made ready now: the clock, and never below the watermark.
--
-- To be called inside the statement that makes the task ready, which holds its lock on `task` then: the watermark relies
-- on it (28_watermark/_advance_watermark.sql).
--
-- Writes: nothing.
-- Calls: _clock, _reset_watermark, _watermark.

create or replace function underway._earliest_ready_at(queue text, priority integer)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now         timestamptz := underway._clock();
    v_observed_at timestamptz := (
        select w.observed_at from underway._watermark(_earliest_ready_at.queue, _earliest_ready_at.priority) w
    );
begin
    -- The clock may have been put back. By a second at most, as after a failover: the task waits for that long. By more:
    -- the watermark is reset.
    if v_observed_at > v_now + interval '1 second' then
        perform underway._reset_watermark(_earliest_ready_at.queue, _earliest_ready_at.priority);
        return v_now;
    end if;

    return greatest(v_now, v_observed_at);
end;
$$;

comment on function underway._earliest_ready_at(text, integer) is
    'The earliest ready_at of a task that is made ready now. Call it inside the statement that writes the task.';
