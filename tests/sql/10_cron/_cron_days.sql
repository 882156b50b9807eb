-- the days of a month

begin;
select plan(87);

-- The days of a month that the day fields of an expression match.
create function pg_temp.days(day_fields text, month date) returns integer[] language sql as $$
    select array_agg(place + 1 order by place)
    from (
        select underway._cron_days(
            underway._read_cron(format('0 0 %s * %s', split_part(day_fields, ' ', 1), split_part(day_fields, ' ', 2))),
            date_part('year', month)::integer, date_part('month', month)::integer
        )
    ) as matched (bits)
    cross join generate_series(0, length(bits) - 1) as place
    where get_bit(bits, place) = 1
$$;

create function pg_temp.from_to(low integer, high integer) returns integer[] language sql as $$
    select array_agg(day) from generate_series(low, high) as day
$$;

-- one bit for each day of the month

select is(
    length(underway._cron_days(underway._read_cron(format('0 0 %s * %s', given.day, given.weekday)), year, month)),
    given.days,
    format('%s-%s has %s bits for %s %s', year, month, given.days, given.day, given.weekday)
)
from (values
    ('*', '*', 2026, 1, 31), ('31', '*', 2026, 4, 30), ('*', 'mon', 2026, 2, 28), ('L', '5#5', 2024, 2, 29),
    ('31W', '*', 2000, 2, 29), ('*', '*', 2100, 2, 28), ('*', '*', 1900, 2, 28), ('*', '*', 2400, 2, 29)
) as given (day, weekday, year, month, days);

-- January 2026 begins on a Thursday, February and March 2026 on a Sunday, May 2026 on a Friday, August 2026 on a
-- Saturday and ends on a Monday. February 2024 begins on a Thursday, and so ends on one, February 2044 on a Monday.

select is(
    pg_temp.days(given.day_fields, given.month::date), given.days,
    format('%s matches %s of %s', given.day_fields, coalesce(given.days::text, 'no day'), left(given.month, 7))
)
from (values
    -- days of month
    ('* *', '2026-02-01', pg_temp.from_to(1, 28)),
    ('* *', '2024-02-01', pg_temp.from_to(1, 29)),
    ('* *', '2026-04-01', pg_temp.from_to(1, 30)),
    ('1,15,31 *', '2026-01-01', '{1,15,31}'),
    ('1,15,31 *', '2026-04-01', '{1,15}'),
    ('29-31 *', '2026-02-01', null),
    ('29-31 *', '2024-02-01', '{29}'),
    ('29-31 *', '2100-02-01', null),
    ('29-31 *', '2000-02-01', '{29}'),
    ('30-2 ?', '2026-04-01', '{1,2,30}'),
    ('*/10 *', '2026-01-01', '{1,11,21,31}'),
    -- days of week
    ('* sun', '2026-02-01', '{1,8,15,22}'),
    ('* sat', '2026-02-01', '{7,14,21,28}'),
    ('? 1-5', '2026-05-01', '{1,4,5,6,7,8,11,12,13,14,15,18,19,20,21,22,25,26,27,28,29}'),
    ('* 7', '2026-05-01', '{3,10,17,24,31}'),
    ('* thu', '1970-01-01', '{1,8,15,22,29}'),
    ('* wed', '1969-12-01', '{3,10,17,24,31}'),
    ('* mon', '1900-01-01', '{1,8,15,22,29}'),
    ('* sat', '2000-01-01', '{1,8,15,22,29}'),
    ('* fri', '2100-01-01', '{1,8,15,22,29}'),
    -- the last day
    ('L *', '2026-01-01', '{31}'),
    ('L *', '2026-04-01', '{30}'),
    ('L *', '2026-02-01', '{28}'),
    ('L *', '2024-02-01', '{29}'),
    ('L *', '2100-02-01', '{28}'),
    ('1,L *', '2026-04-01', '{1,30}'),
    -- the last weekday
    ('LW *', '2026-08-01', '{31}'),
    ('LW *', '2026-01-01', '{30}'),
    ('LW *', '2026-05-01', '{29}'),
    ('LW *', '2026-02-01', '{27}'),
    ('LW *', '2024-02-01', '{29}'),
    -- the nearest weekday: back from a Saturday, on from a Sunday, never into another month
    ('15W *', '2026-05-01', '{15}'),
    ('15W *', '2026-08-01', '{14}'),
    ('15W *', '2026-02-01', '{16}'),
    ('1W *', '2026-08-01', '{3}'),
    ('1W *', '2026-02-01', '{2}'),
    ('1W *', '2026-05-01', '{1}'),
    ('2W *', '2026-08-01', '{3}'),
    ('2W *', '2026-05-01', '{1}'),
    ('28W *', '2026-02-01', '{27}'),
    ('31W *', '2026-05-01', '{29}'),
    ('31W *', '2026-01-01', '{30}'),
    ('31W *', '2026-08-01', '{31}'),
    ('30W *', '2026-08-01', '{31}'),
    ('30W *', '2023-04-01', '{28}'),
    -- a day after the end of the month stands for the last day
    ('31W *', '2026-04-01', '{30}'),
    ('31W *', '2023-04-01', '{28}'),
    ('29W *', '2026-02-01', '{27}'),
    ('31W *', '2024-02-01', '{29}'),
    ('1W,15W,L *', '2026-08-01', '{3,14,31}'),
    -- the n-th weekday of the month
    ('* sun#1', '2026-02-01', '{1}'),
    ('* sat#1', '2026-02-01', '{7}'),
    ('* 5#3', '2026-05-01', '{15}'),
    ('* 7#5', '2026-05-01', '{31}'),
    ('* mon#5', '2026-05-01', null),
    ('* mon#5', '2026-08-01', '{31}'),
    ('* mon#5', '2044-02-01', '{29}'),
    ('* mon#5', '2024-02-01', null),
    ('* thu#5', '2024-02-01', '{29}'),
    ('* sun#5', '2026-02-01', null),
    ('* mon#1,wed#2,fri#4', '2026-01-01', '{5,14,23}'),
    -- the last weekday of the month
    ('* friL', '2026-01-01', '{30}'),
    ('* L5', '2026-02-01', '{27}'),
    ('* Lsun', '2026-05-01', '{31}'),
    ('* 7L', '2026-02-01', '{22}'),
    ('* 4L', '2024-02-01', '{29}'),
    ('* 3L', '2024-02-01', '{28}'),
    ('* fri,sunL', '2026-01-01', '{2,9,16,23,25,30}'),
    -- if both day fields restrict the days, either may match
    ('13 fri', '2026-02-01', '{6,13,20,27}'),
    ('1,15 mon', '2026-01-01', '{1,5,12,15,19,26}'),
    ('L mon', '2026-01-01', '{5,12,19,26,31}'),
    ('1W sun#2', '2026-08-01', '{3,9}'),
    ('31 5#3', '2026-02-01', '{20}'),
    ('*/15 */6', '2026-01-01', '{1,3,4,10,11,16,17,18,24,25,31}'),
    -- a field that lists every value is a restriction that every day satisfies
    ('1-31 mon', '2026-02-01', pg_temp.from_to(1, 28)),
    ('13 sun-sat', '2026-02-01', pg_temp.from_to(1, 28)),
    ('1-31 0-7', '2026-02-01', pg_temp.from_to(1, 28)),
    -- but it counts as * beside a step over *
    ('1-31 */2', '2026-02-01', '{1,3,5,7,8,10,12,14,15,17,19,21,22,24,26,28}'),
    ('*/10 0-6', '2026-01-01', '{1,11,21,31}')
) as given (day_fields, month, days);

select * from finish();
rollback;
