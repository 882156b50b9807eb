-- a time zone is a place that the server knows, or UTC

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
    -- names with digits that are not POSIX zones
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
    'every place in pg_timezone_names is a time zone'
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
    -- names that the server accepts and does not list
    (':Europe/Berlin'), (':UTC'), ('right/UTC'),
    -- abbreviations: one offset all year
    ('CET'), ('EST'), ('PST'), ('IST'), ('cet'), ('Est'), ('CEST'), ('MSK'), ('Z'),
    (':CET'), (':EST'),
    -- POSIX zones, whose offsets have the opposite sign
    ('UTC+2'), ('Europe/Berlin5'), ('Foo5'), ('Etc/GMT+13'), ('Etc/GMT-15'), ('CET-1CEST')
) as given (zone);

select matches(
    underway_test.hint_of($$ select underway._check_time_zone('Europe/Nowhere') $$), 'pg_timezone_names',
    'the hint names pg_timezone_names'
);

-- the session

set local TimeZone to 'America/New_York';

select throws_ok(
    $$ select underway._check_time_zone('EWT') $$, 'UW008', null,
    'an abbreviation of the time zone of the session is refused'
);

select lives_ok(
    $$ select underway._check_time_zone('Europe/Berlin') $$, 'a place is accepted in a session of another time zone'
);

reset TimeZone;

select * from finish();
rollback;
