-- cron_next: the first time after a given one that a cron expression matches in a time zone.
--
-- Writes: nothing.
-- Calls: _cron_next, _read_cron, _split_cron.
-- Raises: UW001 invalid_argument, UW008 invalid_cron.

create or replace function underway.cron_next(cron text, zone text, after timestamptz)
returns timestamptz
language plpgsql
immutable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select split.cron, split.zone into cron_next.cron, cron_next.zone
    from underway._split_cron(cron_next.cron, cron_next.zone) split;
    return underway._cron_next(underway._read_cron(cron_next.cron), cron_next.zone, cron_next.after);
end;
$$;

comment on function underway.cron_next(text, text, timestamptz) is
    'The first time after `after` that a cron expression matches in a time zone; null when none does. @every counts'
    ' from `after`.';
