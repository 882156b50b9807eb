-- a time zone is a place of the server's own list, or UTC

begin;
select plan(58);

select lives_ok(
    format('select underway._check_time_zone(%L)', given.zone),
    format('%L is a time zone', given.zone)
)
from (values
    ('UTC'), ('utc'), ('GMT'), ('Zulu'),
    ('Europe/Berlin'), ('europe/berlin'), ('EUROPE/BERLIN'),
    ('America/Argentina/Buenos_Aires'), ('america/argentina/buenos_aires'),
    ('America/Port-au-Prince'), ('Antarctica/DumontDUrville'), ('Asia/Kolkata'), ('Pacific/Apia'),
    -- names with digits, which are no POSIX zones
    ('Etc/GMT+5'), ('Etc/GMT-14'), ('Etc/GMT+12'), ('Etc/GMT0'), ('etc/gmt+5'), ('GMT0')
) as given (zone);

create function pg_temp.is_refused(zone text) returns boolean language plpgsql as $$
begin
    perform underway._check_time_zone(is_refused.zone);
    return false;
exception when sqlstate 'UW008' then
    return true;
end;
$$;

select is_empty(
    $$
        select name
        from pg_timezone_names
        where name ~ '^(Africa|America|Asia|Europe|Pacific)/' and pg_temp.is_refused(name)
    $$,
    'every place of the list of the server is a time zone'
);

-- refusals

select throws_ok(
    format('select underway._check_time_zone(%L)', given.zone),
    'UW008', format('%L is not a time zone of this server', given.zone),
    format('%L is refused', given.zone)
)
from (values
    -- unknown
    (''), (' '), ('Foo'), ('Mars/Olympus_Mons'), ('Europe/Nowhere'), ('Europe'), ('Europe/'), ('/Europe/Berlin'),
    ('Europe//Berlin'), (' Europe/Berlin'), ('Europe/Berlin '), ('../UTC'), ('default'), ('local'), ('Berlin'),
    -- what the server reads, and has not in its list
    (':Europe/Berlin'), (':UTC'), ('right/UTC'),
    -- abbreviations: one offset for all of the year
    ('CET'), ('EST'), ('PST'), ('IST'), ('cet'), ('Est'), ('CEST'), ('MSK'), ('Z'),
    (':CET'), (':EST'),
    -- the POSIX rules, whose offsets count the wrong way round
    ('UTC+2'), ('Europe/Berlin5'), ('Foo5'), ('Etc/GMT+13'), ('Etc/GMT-15'), ('CET-1CEST')
) as given (zone);

select matches(
    underway_test.hint_of($$ select underway._check_time_zone('Europe/Nowhere') $$), 'pg_timezone_names',
    'the hint names the list'
);

-- the session

set local TimeZone to 'America/New_York';

select throws_ok(
    $$ select underway._check_time_zone('EWT') $$, 'UW008', null,
    'the abbreviations of the time zone of the session are refused too'
);

select lives_ok(
    $$ select underway._check_time_zone('Europe/Berlin') $$, 'a place is a time zone whatever that of the session is'
);

reset TimeZone;

select * from finish();
rollback;
