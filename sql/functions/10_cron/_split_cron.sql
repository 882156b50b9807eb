-- _split_cron: separate an expression from the time zone in brackets behind it: '@daily[America/Los_Angeles]'.
--
-- Writes: nothing.
-- Calls: _check_time_zone.
-- Raises: UW008 invalid_cron.

create or replace function underway._split_cron(inout cron text, inout zone text)
returns record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parts text[];
begin
    if _split_cron.cron is null then
        raise exception using
            errcode = 'UW008',
            message = 'the cron expression is null',
            hint = 'Give an expression such as ''0 9 * * mon-fri''.';
    end if;

    if strpos(_split_cron.cron, '[') > 0 then
        v_parts := regexp_match(_split_cron.cron, '^[[:space:]]*([^][]*?)[[:space:]]*[[]([^][]*)[]][[:space:]]*$');
        if v_parts is null or v_parts[2] <> coalesce(_split_cron.zone, v_parts[2]) then
            raise exception using
                errcode = 'UW008',
                message = format('cron expression %L with time zone %L', _split_cron.cron, _split_cron.zone),
                hint = 'Give one time zone: in brackets, as in ''@daily[Europe/Berlin]'', or as an argument.';
        end if;
        _split_cron.cron := v_parts[1];
        _split_cron.zone := v_parts[2];
    end if;

    _split_cron.zone := coalesce(_split_cron.zone, 'UTC');
    perform underway._check_time_zone(_split_cron.zone);
end;
$$;

comment on function underway._split_cron(text, text) is
    'Separate an expression from the time zone in brackets behind it. The default time zone is UTC.';
