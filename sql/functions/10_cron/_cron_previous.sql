-- _cron_previous: the last time in a range that a cron expression matches in a time zone.
--
-- Writes: nothing.
-- Calls: _cron_next.

create or replace function underway._cron_previous(
    cron underway.cron,
    zone text,
    after timestamptz,
    until timestamptz
)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_low      timestamptz := _cron_previous.after;
    v_high     timestamptz := _cron_previous.until;
    v_middle   timestamptz;
    v_next     timestamptz;
    v_previous timestamptz;
begin
    v_next := underway._cron_next(_cron_previous.cron, _cron_previous.zone, v_low);
    if v_next <= _cron_previous.until then
        v_previous := v_next;
    else
        return null;
    end if;

    -- Bisect: the last time is before the middle if no time follows the middle within the range.
    while date_part('epoch', v_high) - date_part('epoch', v_previous) >= 1 loop
        v_low := v_previous;
        -- In seconds, because the length of a day depends on the time zone of the session.
        v_middle := to_timestamp((date_part('epoch', v_low) + date_part('epoch', v_high)) / 2);
        v_next := underway._cron_next(_cron_previous.cron, _cron_previous.zone, v_middle);
        if v_next <= _cron_previous.until then
            v_previous := v_next;
        else
            v_high := v_middle;
        end if;
    end loop;

    return v_previous;
end;
$$;

comment on function underway._cron_previous(underway.cron, text, timestamptz, timestamptz) is
    'The last time after `after` and not after `until` that a cron expression matches; null when there is none.';
