-- the ring of the history: a slot for each of the next twenty days, and one for later

begin;
select plan(30);

create function pg_temp.slot(expires_at timestamptz, now timestamptz) returns integer language sql as $$
    select underway._history_slot(slot.expires_at, slot.now)::integer
$$;

-- 1970-01-01 is day 0

select is(pg_temp.slot('1970-01-01 00:00:00+00', '1970-01-01 00:00:00+00'), 0, 'the first day has slot 0');

select is(
    pg_temp.slot('1970-02-01 23:59:59.999999+00', '1970-01-20 00:00:00+00'), 31, 'the thirty-second day has slot 31'
);

select is(pg_temp.slot('1970-02-02 00:00:00+00', '1970-01-20 00:00:00+00'), 0, 'the ring closes after thirty-two days');

-- around 2030-01-01, which is day 21915, slot 27

select is(
    pg_temp.slot('2030-01-01 12:00:00+00'::timestamptz + retention.length, '2030-01-01 12:00:00+00'), retention.slot,
    format('at noon a retention of %s leads to slot %s', retention.length, retention.slot)
)
from (
    values
        (interval '0', 27),
        ('11:59:59.999999', 27),
        ('12:00:00', 28),
        ('4 days', 31),
        ('5 days', 0),
        ('14 days', 9),
        ('19 days', 14),
        ('19 days 11:59:59.999999', 14),
        ('19 days 12:00:00', 32),
        ('20 days', 32),
        ('29 days', 32),
        ('30 days', 32),
        ('31 days', 32),
        ('32 days', 32),
        ('400 days', 32),
        ('100 years', 32)
) as retention (length, slot);

select is(
    pg_temp.slot('2029-12-31 00:00:00+00', '2029-12-31 00:00:00+00'), 26,
    'the last day of a year has a slot'
);

select is(pg_temp.slot('2029-12-31 23:59:59+00', '2029-12-31 23:59:59+00'), 26, 'a day ends at midnight in UTC');

select is(pg_temp.slot('2030-01-01 00:00:00+00', '2029-12-31 23:59:59+00'), 27, 'the first day of a year has the next slot');

select is(pg_temp.slot('2028-02-29 00:00:00+00', '2028-02-28 00:00:00+00'), 27, 'a leap day has a slot');

select is(pg_temp.slot('2028-03-01 00:00:00+00', '2028-02-28 00:00:00+00'), 28, 'the slot of a leap day is its own');

-- the time zone of the session is nobody's business

set local timezone = 'Pacific/Kiritimati';

select is(
    pg_temp.slot('2030-01-01 23:59:59+00', '2030-01-01 12:00:00+00'), 27,
    'a session fourteen hours ahead has the same slots'
);

set local timezone = 'America/Los_Angeles';

select is(
    pg_temp.slot('2030-01-01 23:59:59+00', '2030-01-01 12:00:00+00'), 27,
    'a session eight hours behind has the same slots'
);

set local timezone = 'UTC';

-- over five years, each day: the slots that are written, and those that are emptied (_prune)

create temp table day as
select day, array_agg(underway._history_slot(day + make_interval(days => ahead), day) order by ahead) as slots
from generate_series('2027-12-01'::timestamptz, '2032-12-31', '1 day') as day, generate_series(0, 19) as ahead
group by day;

select is_empty(
    $$ select day.day from day where (select count(distinct slot) from unnest(day.slots) as slot) <> 20 limit 3 $$,
    'twenty days ahead never share a slot'
);

select is_empty(
    $$ select day.day from day where 32 = any (day.slots) limit 3 $$, 'twenty days ahead are always in the ring'
);

select is_empty(
    $$
        select day.day, ago
        from day, generate_series(1, 12) as ago
        where mod((extract(epoch from day.day) / 86400)::integer - ago, 32) = any (day.slots)
        limit 3
    $$,
    'nothing is written into the slot of a day that is over'
);

select is_empty(
    $$
        select day.day, ahead
        from day, generate_series(20, 70) as ahead
        where underway._history_slot(day.day + make_interval(days => ahead), day.day) <> 32
        limit 3
    $$,
    'from the twentieth day on everything is later than the ring reaches'
);

select * from finish();
rollback;
