-- texts that are not cron expressions

begin;
select plan(238);

-- wrong values of each field

select throws_ok(
    format('select underway._read_cron(%L)', format(shape.cron, given.value)),
    'UW008', format('cron expression %L: the %s is %L', format(shape.cron, given.value), given.field, given.value),
    format('the %s %L is refused, and the message names the field and the value', given.field, given.value)
)
from (values
    ('second', '60'), ('second', '?'), ('second', 'l'), ('second', '*/0'), ('second', '0,60'),

    -- out of bounds
    ('minute', '60'), ('minute', '-1'), ('minute', '0-60'), ('minute', '60-5'), ('minute', '60/2'), ('minute', '99999'),
    ('minute', '99999999999999999999'),
    -- incomplete ranges
    ('minute', '5-'), ('minute', '-5'), ('minute', '-'), ('minute', '1-5-9'), ('minute', '*-5'), ('minute', '5-*'),
    -- steps
    ('minute', '*/0'), ('minute', '5/0'), ('minute', '1-5/0'), ('minute', '*/00'), ('minute', '*/'), ('minute', '/5'),
    ('minute', '5//2'), ('minute', '*/5/2'), ('minute', '*/-5'), ('minute', '*/*'), ('minute', '*/a'),
    ('minute', '*/1-5'), ('minute', '*/99999999999999999999'),
    -- commas
    ('minute', ','), ('minute', '1,'), ('minute', ',1'), ('minute', '1,,2'), ('minute', '*,'),
    -- items of other fields, and characters of none
    ('minute', '?'), ('minute', 'l'), ('minute', '5w'), ('minute', '5#1'), ('minute', 'mon'), ('minute', 'jan'),
    ('minute', 'a'), ('minute', '+5'), ('minute', '1.5'), ('minute', '*5'), ('minute', '5*'), ('minute', '**'),
    ('minute', '0x1'), ('minute', '1;2'), ('minute', '~'), ('minute', '!5'), ('minute', 'h'), ('minute', '5%%'),
    ('minute', '٣'), ('minute', '*/٣'), ('minute', '５'),

    ('hour', '24'), ('hour', '-1'), ('hour', '12-24'), ('hour', '24-3'), ('hour', '9am'), ('hour', '?'), ('hour', 'l'),
    ('hour', '*/0'), ('hour', '9,'), ('hour', 'noon'),

    ('day of month', '0'), ('day of month', '32'), ('day of month', '0-5'), ('day of month', '1-32'),
    ('day of month', '*/0'), ('day of month', '1,'), ('day of month', 'mon'),
    ('day of month', '0w'), ('day of month', '32w'), ('day of month', 'w'), ('day of month', 'wl'),
    ('day of month', '1-5w'), ('day of month', '15w-20w'), ('day of month', '*w'), ('day of month', '15w/2'),
    ('day of month', 'l/2'), ('day of month', 'l-3'), ('day of month', '1-l'), ('day of month', '5l'),
    ('day of month', 'l5'), ('day of month', 'll'), ('day of month', 'lww'), ('day of month', '1#2'),
    ('day of month', '??'), ('day of month', '?,1'), ('day of month', '1,?'), ('day of month', '?/2'),
    ('day of month', '*,?'), ('day of month', '٣w'),

    ('month', '0'), ('month', '13'), ('month', '0-5'), ('month', '11-13'), ('month', '*/0'),
    ('month', '1,'), ('month', 'l'), ('month', '?'), ('month', 'foo'),
    ('month', 'january'), ('month', 'ja'), ('month', 'mon'), ('month', 'jan-foo'), ('month', '1w'), ('month', '1#1'),

    ('day of week', '8'), ('day of week', '-1'), ('day of week', '0-8'), ('day of week', '*/0'), ('day of week', '1,'),
    ('day of week', 'monday'), ('day of week', 'mo'), ('day of week', 'jan'),
    ('day of week', 'mon-'), ('day of week', 'l'), ('day of week', 'll'), ('day of week', '8l'), ('day of week', 'l8'),
    ('day of week', 'l5l'), ('day of week', 'foo#1'), ('day of week', '8#1'), ('day of week', '1#0'),
    ('day of week', '1#6'), ('day of week', 'mon#6'), ('day of week', '1#'), ('day of week', '#1'),
    ('day of week', '#'), ('day of week', '1#1#1'), ('day of week', '1#-1'), ('day of week', '1-5#1'),
    ('day of week', '1#1-5#1'), ('day of week', '1#1/2'), ('day of week', 'l5#1'), ('day of week', '*#1'),
    ('day of week', '5w'), ('day of week', 'w'), ('day of week', '?,1'), ('day of week', '1,?'),
    ('day of week', '??'), ('day of week', '٣#1'),

    ('year', '1969'), ('year', '2100'), ('year', '26'), ('year', '0'), ('year', '1969-2000'), ('year', '2026-2100'),
    ('year', '*/0'), ('year', '2026,'), ('year', '?'), ('year', 'l'), ('year', '20260'),
    ('year', '02026'), ('year', '*,5'), ('year', 'jan,*'), ('year', '2026,*,h')
) as given (field, value)
join (values
    ('second', '%s 0 0 1 1 *'),
    ('minute', '%s 0 1 1 *'),
    ('hour', '0 %s 1 1 *'),
    ('day of month', '0 0 %s 1 *'),
    ('month', '0 0 1 %s *'),
    ('day of week', '0 0 1 1 %s'),
    ('year', '0 0 0 1 1 * %s')
) as shape (field, cron) using (field);

-- a step that is larger than its range matches the first value alone

select throws_ok(
    format('select underway._read_cron(%L)', given.cron), 'UW008',
    format('cron expression %L: the %s is %L', given.cron, given.field, given.value) || ', whose step ' || given.step
        || ' is larger than the range',
    format('the %s %L is refused, because its step applies at most once', given.field, given.value)
)
from (values
    ('*/60 0 0 1 1 *', 'second', '*/60', 60),
    ('*/90 * * * *', 'minute', '*/90', 90), ('*/60 * * * *', 'minute', '*/60', 60),
    ('*/999999999 * * * *', 'minute', '*/999999999', 999999999),
    ('5/70 * * * *', 'minute', '5/70', 70), ('59/2 * * * *', 'minute', '59/2', 2),
    ('0-10/20 * * * *', 'minute', '0-10/20', 20), ('10-30/21 * * * *', 'minute', '10-30/21', 21),
    ('5-5/2 * * * *', 'minute', '5-5/2', 2), ('0,15-20/10 * * * *', 'minute', '0,15-20/10', 10),
    ('0 */24 * * *', 'hour', '*/24', 24), ('0 22-2/5 * * *', 'hour', '22-2/5', 5),
    ('0 0 */31 * *', 'day of month', '*/31', 31),
    ('0 0 1 */12 *', 'month', '*/12', 12), ('0 0 1 jan-mar/3 *', 'month', 'jan-mar/3', 3),
    ('0 0 * * */7', 'day of week', '*/7', 7), ('0 0 * * 0-7/7', 'day of week', '0-7/7', 7),
    ('0 0 0 1 1 * 2026-2030/5', 'year', '2026-2030/5', 5)
) as given (cron, field, value, step);

-- the number of fields

select throws_ok(
    format('select underway._read_cron(%L)', given.cron), 'UW008', null,
    format('%L is refused', given.cron)
)
from (values
    (''), (' '), (E' \t '), ('*'), ('* *'), ('* * *'), ('* * * *'), ('* * * * * * * *'), ('0 0 0 1 1 * 2030 *'),
    ('@'), ('@reboot'), ('@never'), ('@every'), ('@every 1 month'), ('@daily 5'), ('@ daily'), ('daily'),
    ('@daily @daily'),
    ('every day'), ('0, 30 * * * *, *')
) as given (cron);

select throws_ok(
    $$ select underway._read_cron('0 9 * *') $$, 'UW008', 'cron expression ''0 9 * *'' has 4 fields',
    'the message names the expression and the number of its fields'
);

-- No character makes an empty field.

create function pg_temp.read(cron text) returns underway.cron language plpgsql as $$
begin
    return underway._read_cron(read.cron);
exception when sqlstate 'UW008' then
    return null;
end;
$$;

select ok(
    coalesce(pg_temp.read(format(given.shape, given.character)) = underway._read_cron('1 2 3 4 5'), true),
    format('the character %s at %s is a blank or is refused', ascii(given.character), given.place)
)
from (
    select shape.shape, shape.place, chr(code) as character
    from unnest('{10,11,12,13,160}'::integer[]) as code
    cross join (values ('%s1 2 3 4 5', 'the beginning'), ('1 2 3 4 5%s', 'the end')) as shape (shape, place)
    order by 3, 1
) as given;

select is(
    pg_temp.read(format(given.shape, given.character)), null,
    format('the character %s at %s is not a field', ascii(given.character), given.place)
)
from (
    select shape.shape, shape.place, chr(code) as character
    from unnest('{9,10,11,12,13,32}'::integer[]) as code
    cross join (values ('%s1 2 3 4', 'the beginning'), ('1 2 3 4%s', 'the end')) as shape (shape, place)
    order by 3, 1
) as given;

-- hints

select matches(
    underway_test.hint_of(format('select underway._read_cron(%L)', given.cron)), given.hint,
    format('the hint for %L says what is allowed there', given.cron)
)
from (values
    ('99 0 0 1 1 *', 'second is 0-59'),
    ('99 0 1 1 *', 'minute is 0-59'),
    ('0 99 1 1 *', 'hour is 0-23'),
    ('0 0 99 1 *', 'day of month is 1-31.* L .*LW.*nW.*\?'),
    ('0 0 1 99 *', 'month is 1-12 or jan-dec'),
    ('0 0 1 1 99', 'day of week is 0-7 .*sun-sat.*n#k.*nL.*Ln.*\?'),
    ('0 0 0 1 1 * 99', 'year is 1970-2099'),
    ('*/90 0 0 1 1 *', 'Only 0 .*0 for that one value.*@every 90 seconds'),
    ('*/90 * * * *', 'Only 0 .*0 for that one value.*@every 90 minutes'),
    ('5/70 * * * *', 'Only 5 .*5 for that one value.*@every 70 minutes'),
    ('0 */36 * * *', 'Only 0 .*0 for that one value.*@every 36 hours'),
    ('0 0 */45 * *', 'Only 1 .*1 for that one value.*@every 45 days'),
    ('0 0 1 */12 *', 'Only 1 .*1 for that one value\.$'),
    ('0 0 * * */14', 'Only 0 .*0 for that one value.*@every 14 days'),
    ('0 0 0 1 1 * 2000/100', 'Only 2000 .*2000 for that one value\.$'),
    ('0 9 * *', '5 fields .*6 .*7 .*@yearly.*@hourly.*@every 90 minutes')
) as given (cron, hint);

select * from finish();
rollback;
