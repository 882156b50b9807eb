-- the result does not depend on the settings of the session

begin;
select plan(24);

create temp table given (cron text, zone text, after timestamptz, next timestamptz);

insert into given
values
    ('0 9 * * *', null, '2026-05-04 00:00:00.25+00', '2026-05-04 09:00+00'),
    ('0 9 4 5 *', 'Europe/Berlin', '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 0 * * mon', 'Pacific/Kiritimati', '2026-05-03 09:00+00', '2026-05-03 10:00+00'),
    ('30 2 * * *', 'America/New_York', '2026-03-07 02:30-05', '2026-03-08 03:00-04'),
    ('*/30 2 * * *', 'America/New_York', '2026-03-07 02:30-05', '2026-03-09 02:00-04'),
    ('30 1 * * *', 'America/New_York', '2026-11-01 01:30-04', '2026-11-02 01:30-05'),
    ('30 1 * * *', 'America/New_York', '2026-11-01 01:10-05', '2026-11-02 01:30-05'),
    ('30 * * * *', 'America/New_York', '2026-11-01 01:30-04', '2026-11-01 01:30-05'),
    ('30 2 * * *', 'Europe/Berlin', '2026-03-28 02:30+01', '2026-03-29 03:00+02'),
    ('30 * * * *', 'Europe/Berlin', '2026-10-25 02:30+02', '2026-10-25 02:30+01'),
    ('45 1 * * *', 'Australia/Lord_Howe', '2024-04-07 01:45+11', '2024-04-08 01:45+10:30'),
    ('*/15 1 * * *', 'Australia/Lord_Howe', '2024-04-07 01:45+11', '2024-04-07 01:30+10:30'),
    ('0 12 * * *', 'Pacific/Apia', '2011-12-29 12:00-10', '2011-12-31 00:00+14'),
    ('*/30 12 * * *', 'Pacific/Apia', '2011-12-29 12:30-10', '2011-12-31 12:00+14'),
    ('0 6 * * *', 'Pacific/Kwajalein', '1993-08-20 06:00-12', '1993-08-22 00:00+12'),
    ('0 9 L nov,*/11 fri#2,l5', 'UTC', '2026-05-04 00:00+00', '2026-11-13 09:00+00'),
    (E'0\0139\t4 5 *\n[Europe/Berlin]', null, '2026-05-04 00:00+00', '2026-05-04 07:00+00'),
    ('0 0 * 2 mon#5', 'UTC', '2072-02-29 00:00+00', '2112-02-29 00:00+00'),
    ('* * * * * *', 'UTC', '1969-12-31 23:59:58.5+00', '1969-12-31 23:59:59+00'),
    ('0 0 0 1 1 * 2025', 'UTC', '2026-05-04 00:00+00', null);

-- The cases above whose result differs while a setting has a value.
create function pg_temp.wrong(setting text, value text) returns setof text language plpgsql as $$
declare
    v_before text := set_config(wrong.setting, current_setting(wrong.setting), true);
begin
    perform set_config(wrong.setting, wrong.value, true);

    return query
    select format('%s in %s: %s', g.cron, g.zone, underway.cron_next(g.cron, g.zone, g.after))
    from given g
    where underway.cron_next(g.cron, g.zone, g.after) is distinct from g.next;

    return query
    select format('%s in %s: %s', g.cron, g.zone, preview.at)
    from given g
    cross join underway.cron_preview(g.cron, g.zone, g.after, 1) as preview (at)
    where preview.at is distinct from g.next;

    return query
    select format('%s in %s: the last is %s', g.cron, g.zone, last.at)
    from given g
    cross join underway._split_cron(g.cron, g.zone) as split
    cross join underway._cron_previous(
        underway._read_cron(split.cron), split.zone, g.next - interval '20000 hours', g.next
    ) as last (at)
    where g.next is not null and last.at is distinct from g.next;

    perform set_config(wrong.setting, v_before, true);
end;
$$;

select is_empty(
    format('select pg_temp.wrong(%L, %L)', given.setting, given.value),
    format('the next times are the same when %s is %s', given.setting, given.value)
)
from (values
    -- first, because a session parses the text of a function only once
    ('standard_conforming_strings', 'off'),
    ('array_nulls', 'off'),
    -- time zones whose clocks change at the same times or at others
    ('TimeZone', 'UTC'),
    ('TimeZone', 'America/New_York'),
    ('TimeZone', 'Europe/Berlin'),
    ('TimeZone', 'Australia/Lord_Howe'),
    ('TimeZone', 'Pacific/Apia'),
    ('TimeZone', 'Pacific/Kwajalein'),
    ('TimeZone', 'Asia/Tehran'),
    ('TimeZone', 'Etc/GMT+12'),
    ('TimeZone', '<+05>-05:30'),
    ('DateStyle', 'ISO, DMY'),
    ('DateStyle', 'ISO, YMD'),
    ('DateStyle', 'SQL, DMY'),
    ('DateStyle', 'SQL, MDY'),
    ('DateStyle', 'German'),
    ('DateStyle', 'Postgres, DMY'),
    ('IntervalStyle', 'postgres'),
    ('IntervalStyle', 'postgres_verbose'),
    ('IntervalStyle', 'sql_standard'),
    ('IntervalStyle', 'iso_8601')
) as given (setting, value);

-- several settings at once

set local TimeZone to 'Pacific/Apia';
set local DateStyle to 'German';
set local IntervalStyle to 'sql_standard';

select is_empty(
    format('select pg_temp.wrong(%L, %L)', given.setting, given.value),
    format('the next times are the same when several settings are changed and %s is %s', given.setting, given.value)
)
from (values
    ('TimeZone', 'America/New_York'),
    ('DateStyle', 'SQL, DMY'),
    ('IntervalStyle', 'iso_8601')
) as given (setting, value);

reset TimeZone;
reset DateStyle;
reset IntervalStyle;

select * from finish();
rollback;
