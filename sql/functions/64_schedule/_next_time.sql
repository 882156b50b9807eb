-- _next_time: the first time of a schedule after a given one, between its start and its end.
--
-- Writes: nothing.
-- Calls: _cron_next.
-- Raises: UW001 invalid_argument.

create or replace function underway._next_time(
    cron underway.cron,
    time_zone text,
    after timestamptz,
    starts_at timestamptz,
    ends_at timestamptz
)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A time at starts_at counts.
    v_next timestamptz := underway._cron_next(
        _next_time.cron,
        _next_time.time_zone,
        greatest(_next_time.after, _next_time.starts_at - interval '1 microsecond')
    );
begin
    return case when v_next <= coalesce(_next_time.ends_at, 'infinity') then v_next end;
end;
$$;

comment on function underway._next_time(underway.cron, text, timestamptz, timestamptz, timestamptz) is
    'The first time of a schedule after a given one, not before its start; null if none comes until its end.';
