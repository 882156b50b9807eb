-- what the fields of an expression mean

begin;
select plan(185);

-- The values that a field matches: its row of bits begins at its lowest value.
create function pg_temp.named(bits bit varying, low integer) returns integer[] language sql as $$
    select array_agg(low + place order by place)
    from generate_series(0, length(bits) - 1) as place
    where get_bit(bits, place) = 1
$$;

create function pg_temp.read(field text, value text) returns integer[] language sql as $$
    select case read.field
        when 'second' then pg_temp.named((underway._read_cron(read.value || ' * * * * *')).seconds, 0)
        when 'minute' then pg_temp.named((underway._read_cron(read.value || ' * * * *')).minutes, 0)
        when 'hour' then pg_temp.named((underway._read_cron('* ' || read.value || ' * * *')).hours, 0)
        when 'day of month' then pg_temp.named((underway._read_cron('* * ' || read.value || ' * *')).days, 1)
        when 'month' then pg_temp.named((underway._read_cron('* * * ' || read.value || ' *')).months, 1)
        when 'day of week' then pg_temp.named((underway._read_cron('* * * * ' || read.value)).weekdays, 0)
        when 'year' then pg_temp.named((underway._read_cron('* * * * * * ' || read.value)).years, 1970)
    end
$$;

create function pg_temp.from_to(low integer, high integer) returns integer[] language sql as $$
    select array_agg(value) from generate_series(low, high) as value
$$;

select is(
    pg_temp.read(given.field, given.value), given.names,
    format('the %s %s is %s', given.field, given.value, given.names)
)
from (values
    -- every value
    ('second', '*', pg_temp.from_to(0, 59)),
    ('minute', '*', pg_temp.from_to(0, 59)),
    ('hour', '*', pg_temp.from_to(0, 23)),
    ('day of month', '*', pg_temp.from_to(1, 31)),
    ('month', '*', pg_temp.from_to(1, 12)),
    ('day of week', '*', pg_temp.from_to(0, 6)),
    -- one value, at the bounds
    ('second', '0', '{0}'), ('second', '59', '{59}'),
    ('minute', '0', '{0}'), ('minute', '59', '{59}'),
    ('hour', '0', '{0}'), ('hour', '23', '{23}'),
    ('day of month', '1', '{1}'), ('day of month', '31', '{31}'),
    ('month', '1', '{1}'), ('month', '12', '{12}'),
    ('day of week', '0', '{0}'), ('day of week', '6', '{6}'),
    ('year', '1970', '{1970}'), ('year', '2099', '{2099}'),
    ('minute', '05', '{5}'),
    -- lists
    ('second', '0,30', '{0,30}'),
    ('minute', '59,0,7', '{0,7,59}'),
    ('hour', '8,8,8', '{8}'),
    ('day of month', '1,15,31', '{1,15,31}'),
    ('month', 'dec,1,jun', '{1,6,12}'),
    ('day of week', 'mon,3,FRI', '{1,3,5}'),
    ('year', '2030,2026', '{2026,2030}'),
    -- ranges
    ('second', '10-12', '{10,11,12}'),
    ('minute', '57-59', '{57,58,59}'),
    ('hour', '0-23', pg_temp.from_to(0, 23)),
    ('day of month', '29-31', '{29,30,31}'),
    ('month', 'jan-mar', '{1,2,3}'),
    ('month', 'oct-12', '{10,11,12}'),
    ('day of week', 'mon-fri', '{1,2,3,4,5}'),
    ('year', '2026-2028', '{2026,2027,2028}'),
    -- a range whose ends are equal is that one value
    ('second', '7-7', '{7}'),
    ('minute', '5-5', '{5}'), ('minute', '0-0', '{0}'), ('minute', '05-5', '{5}'), ('minute', '1,5-5,9', '{1,5,9}'),
    ('minute', '5-5/1', '{5}'),
    ('hour', '23-23', '{23}'),
    ('day of month', '10-10', '{10}'),
    ('month', '3-3', '{3}'), ('month', 'mar-mar', '{3}'), ('month', 'mar-3', '{3}'),
    ('day of week', '5-5', '{5}'), ('day of week', 'fri-fri', '{5}'), ('day of week', 'fri-5', '{5}'),
    ('day of week', '0-0', '{0}'), ('day of week', '7-7', '{0}'), ('day of week', '7-0', '{0}'),
    ('year', '2026-2026', '{2026}'),
    -- ranges that wrap around
    ('second', '58-1', '{0,1,58,59}'),
    ('minute', '59-0', '{0,59}'),
    ('hour', '22-6', '{0,1,2,3,4,5,6,22,23}'),
    ('hour', '12-11', pg_temp.from_to(0, 23)),
    ('day of month', '30-2', '{1,2,30,31}'),
    ('month', 'nov-feb', '{1,2,11,12}'),
    ('day of week', 'fri-mon', '{0,1,5,6}'),
    ('day of week', '6-0', '{0,6}'),
    -- steps
    ('second', '*/20', '{0,20,40}'),
    ('minute', '*/25', '{0,25,50}'),
    ('minute', '*/59', '{0,59}'),
    ('hour', '*/7', '{0,7,14,21}'),
    ('hour', '*/1', pg_temp.from_to(0, 23)),
    ('day of month', '*/10', '{1,11,21,31}'),
    ('month', '*/5', '{1,6,11}'),
    ('day of week', '*/2', '{0,2,4,6}'),
    ('year', '*/100', '{1970,2070}'),
    ('second', '50/5', '{50,55}'),
    ('minute', '7/20', '{7,27,47}'),
    ('hour', '20/2', '{20,22}'),
    ('day of month', '25/3', '{25,28,31}'),
    ('month', 'oct/1', '{10,11,12}'),
    ('year', '2090/4', '{2090,2094,2098}'),
    ('minute', '59/1', '{59}'),
    ('minute', '10-30/20', '{10,30}'),
    ('month', '*/11', '{1,12}'),
    ('day of week', '0-7/6', '{0,6}'),
    ('minute', '10-30/10', '{10,20,30}'),
    ('minute', '10-29/10', '{10,20}'),
    ('hour', '9-17/4', '{9,13,17}'),
    ('day of month', '1-7/2', '{1,3,5,7}'),
    ('month', 'jan-jun/2', '{1,3,5}'),
    ('day of week', 'mon-fri/2', '{1,3,5}'),
    ('year', '2026-2030/2', '{2026,2028,2030}'),
    -- the step continues across the wrap
    ('hour', '23-5/2', '{1,3,5,23}'),
    ('hour', '22-6/3', '{1,4,22}'),
    ('hour', '22-2/4', '{2,22}'),
    ('second', '50-9/15', '{5,50}'),
    ('day of month', '29-4/2', '{2,4,29,31}'),
    ('month', 'nov-feb/2', '{1,11}'),
    ('month', 'oct-apr/3', '{1,4,10}'),
    ('day of week', 'fri-mon/2', '{0,5}'),
    ('day of week', 'thu-wed/3', '{0,3,4}'),
    -- all kinds of items in one list
    ('minute', '0,5-7,58-1,*/30,50/4', '{0,1,5,6,7,30,50,54,58,59}'),
    ('hour', '3,22-1/3,12', '{1,3,12,22}'),
    -- Sunday is 0 and 7
    ('day of week', '7', '{0}'),
    ('day of week', '0,7', '{0}'),
    ('day of week', '0-7', pg_temp.from_to(0, 6)),
    ('day of week', '1-7', pg_temp.from_to(0, 6)),
    ('day of week', '5-7', '{0,5,6}'),
    ('day of week', '6-7', '{0,6}'),
    ('day of week', '7-2', '{0,1,2}'),
    ('day of week', 'thu-7', '{0,4,5,6}'),
    ('day of week', '0-7/2', '{0,2,4,6}'),
    ('day of week', '1-7/2', '{0,1,3,5}'),
    ('day of week', '4-7/2', '{4,6}')
) as given (field, value, names);

select is(
    pg_temp.read(given.field, given.name), array[given.number],
    format('the %s %s is %s', given.field, given.name, given.number)
)
from (values
    ('month', 'jan', 1), ('month', 'feb', 2), ('month', 'mar', 3), ('month', 'apr', 4), ('month', 'may', 5),
    ('month', 'jun', 6), ('month', 'jul', 7), ('month', 'aug', 8), ('month', 'sep', 9), ('month', 'oct', 10),
    ('month', 'nov', 11), ('month', 'dec', 12), ('month', 'JUN', 6), ('month', 'Oct', 10), ('month', 'dEC', 12),
    ('day of week', 'sun', 0), ('day of week', 'mon', 1), ('day of week', 'tue', 2), ('day of week', 'wed', 3),
    ('day of week', 'thu', 4), ('day of week', 'fri', 5), ('day of week', 'sat', 6), ('day of week', 'SUN', 0),
    ('day of week', 'Fri', 5), ('day of week', 'sAT', 6)
) as given (field, name, number);

-- the number of fields

select is(
    (select row(
        pg_temp.named(read.seconds, 0), pg_temp.named(read.minutes, 0), pg_temp.named(read.hours, 0),
        pg_temp.named(read.days, 1), pg_temp.named(read.months, 1), pg_temp.named(read.weekdays, 0),
        pg_temp.named(read.years, 1970)
    )::text from underway._read_cron(given.cron) read),
    row(
        given.seconds::integer[], given.minutes::integer[], given.hours::integer[], given.days::integer[],
        given.months::integer[], given.weekdays::integer[], given.years::integer[]
    )::text,
    given.says
)
from (values
    ('1 2 3 4 5', '{0}', '{1}', '{2}', '{3}', '{4}', '{5}', null, 'the first of 5 fields is the minute'),
    ('1 2 3 4 5 6', '{1}', '{2}', '{3}', '{4}', '{5}', '{6}', null, 'the first of 6 fields is the second'),
    ('1 2 3 4 5 6 2007', '{1}', '{2}', '{3}', '{4}', '{5}', '{6}', '{2007}', 'the last of 7 fields is the year')
) as given (cron, seconds, minutes, hours, days, months, weekdays, years, says);

select is(
    underway._read_cron('1 2 3 4 5 6 *'), underway._read_cron('1 2 3 4 5 6'),
    '* as the year is the same as no year'
);

select is(
    underway._read_cron('1 2 3 4 5 6 2030,*'), underway._read_cron('1 2 3 4 5 6'),
    '* in a list of years is the same as no year'
);

-- expressions with the same meaning

select is(
    underway._read_cron(given.cron), underway._read_cron(given.other),
    format('%L means %L', given.cron, given.other)
)
from (values
    ('@yearly', '0 0 1 1 *'),
    ('@annually', '0 0 1 1 *'),
    ('@monthly', '0 0 1 * *'),
    ('@weekly', '0 0 * * 0'),
    ('@daily', '0 0 * * *'),
    ('@midnight', '0 0 * * *'),
    ('@hourly', '0 * * * *'),
    (E' \t @hourly \t', '0 * * * *'),
    (E'  0 9 1 1 mon', '0 9 1 1 mon'),
    (E'0 9 1 1 mon\t ', '0 9 1 1 mon'),
    (E'\t0  9 \t 1\t\t1 mon', '0 9 1 1 mon'),
    ('0 9 ? * mon', '0 9 * * mon'),
    ('0 9 15 * ?', '0 9 15 * *'),
    ('0 9 ? * ?', '0 9 * * *'),
    ('0 0 9 L * ? 2030', '0 0 9 L * * 2030')
) as given (cron, other);

-- days that depend on the month

select is(
    (underway._read_cron(given.cron)).days_by_rule, given.rules,
    format('%L has the rules %s', given.cron, given.rules)
)
from (values
    ('0 0 1,15 * mon', array[]::text[]),
    ('0 0 L * *', '{L}'),
    ('0 0 LW * *', '{31W}'),
    ('0 0 1W,15w,31W * *', '{1W,15W,31W}'),
    ('0 0 * * 5L', '{5L}'),
    ('0 0 * * L5', '{5L}'),
    ('0 0 * * friL', '{5L}'),
    ('0 0 * * Lfri', '{5L}'),
    ('0 0 * * lFRI', '{5L}'),
    ('0 0 * * 0L,7L,Lsun', '{0L,0L,0L}'),
    ('0 0 * * 7#1,SUN#2,sat#5', '{0#1,0#2,6#5}'),
    ('0 0 l,10-12,15W * mon-wed,5#3', '{L,15W,5#3}')
) as given (cron, rules);

select is(
    pg_temp.read('day of month', 'l,10-12,15W,lw'), '{10,11,12}',
    'a list may mix days of month and rules'
);

select is(
    pg_temp.read('day of week', 'mon-wed,5#3,Lsat'), '{1,2,3}', 'a list may mix days of week and rules'
);

-- repeating and fixed expressions

select is(
    (underway._read_cron(given.cron)).repeats, given.repeats,
    format('%L %s', given.cron, case when given.repeats then 'repeats' else 'is fixed' end)
)
from (values
    ('* 2 * * *', true),
    ('*/5 2 * * *', true),
    ('*,7 2 * * *', true),
    ('0 * * * *', true),
    ('0 */2 * * *', true),
    ('@hourly', true),
    ('0 2 * * *', false),
    ('@daily', false),
    ('0-59 0-23 * * *', false),
    ('0,*/5 2,*/3 * * *', false),
    ('0/5 2 * * *', false),
    -- the seconds and the days do not matter
    ('* 0 2 * * *', false),
    ('*/10 0 2 */2 */2 */2', false),
    ('0 * 2 * * *', true),
    ('0 0 * * * *', true),
    ('30 0 */4 * * * 2030', true)
) as given (cron, repeats);

select * from finish();
rollback;
