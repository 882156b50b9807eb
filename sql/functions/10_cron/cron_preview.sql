-- cron_preview: the next times that a cron expression matches in a time zone, in order.
--
-- Writes: nothing.
-- Calls: _cron_next, _read_cron, _split_cron.
-- Raises: UW001 invalid_argument, UW008 invalid_cron.

create or replace function underway.cron_preview(cron text, zone text, after timestamptz, count integer default 5)
returns setof timestamptz
language plpgsql
immutable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_cron underway.cron;
    v_at   timestamptz := cron_preview.after;
begin
    if (cron_preview.count between 0 and 1000) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('count is %s', coalesce(cron_preview.count::text, 'null')),
            hint = 'Give a count from 0 to 1000.';
    end if;
    select split.cron, split.zone into cron_preview.cron, cron_preview.zone
    from underway._split_cron(cron_preview.cron, cron_preview.zone) split;

    v_cron := underway._read_cron(cron_preview.cron);
    for v_number in 1..cron_preview.count loop
        v_at := underway._cron_next(v_cron, cron_preview.zone, v_at);
        exit when v_at is null;
        return next v_at;
    end loop;
end;
$$;

comment on function underway.cron_preview(text, text, timestamptz, integer) is
    'The next `count` times after `after` that a cron expression matches in a time zone, or fewer if it has no more.'
    ' @every counts from `after`.';
