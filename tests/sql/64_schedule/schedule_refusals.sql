begin;
select plan(84);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

-- A call that creates an hourly schedule, with other or additional arguments.
create function pg_temp.call_with(
    arguments text,
    name text default 'refused',
    queue text default 'email',
    cron text default '0 * * * *'
)
returns text
language sql
as $$
    select format('select underway.schedule(%L, %L, %L', call_with.name, call_with.queue, call_with.cron)
        || coalesce(', ' || call_with.arguments, '') || ')'
$$;

-- Each error has a hint.
create function pg_temp.refuses(statement text, code text, description text)
returns setof text
language plpgsql
as $$
begin
    return next throws_ok(refuses.statement, refuses.code, null, refuses.description);
    if coalesce(underway_test.hint_of(refuses.statement), '') = '' then
        return next fail(refuses.description || ', and says what to do');
    end if;
end;
$$;

-- names

select pg_temp.refuses(pg_temp.call_with(null, given.name), 'UW001', format('a name %s is refused', given.description))
from (values
    (null, 'nothing'),
    ('', 'that is empty'),
    (' ', 'a blank'),
    (' nightly', 'that begins with a blank'),
    ('nightly ', 'that ends with a blank'),
    (E'nightly\n', 'that ends with a line break'),
    (E'night\nly', 'of two lines'),
    (E'night\tly', 'with a tab'),
    (E'night\x1bly', 'with an escape'),
    (E'night\x7fly', 'with a delete'),
    (repeat('a', 129), 'of 129 characters')
) as given (name, description);

select throws_ok(
    pg_temp.call_with('starts_at => ''infinity'''), 'UW001', 'starts_at is infinity',
    'the message for an infinite start names the argument'
);

select throws_ok(
    pg_temp.call_with(null, ' nightly'), 'UW001', ''' nightly'' cannot be the name of a schedule',
    'the message shows the name as it was given'
);

-- the queue

select throws_ok(
    pg_temp.call_with(null, queue => 'fax'), 'UW003', 'queue ''fax'' does not exist',
    'a queue that does not exist is refused'
);

select pg_temp.refuses(pg_temp.call_with(null, queue => null), 'UW001', 'neither a queue nor a job is refused');
select pg_temp.refuses(
    pg_temp.call_with('job => ''send_mail''', queue => null), 'UW016', 'a job that has no queue either is refused'
);

-- arguments

select pg_temp.refuses(pg_temp.call_with(given.argument), 'UW001', format('%s is refused', given.argument))
from (values
    ('catch_up => ''never'''),
    ('catch_up => ''ALL'''),
    ('catch_up => '''''),
    ('catch_up => null'),
    ('catch_up_limit => 0'),
    ('catch_up_limit => -1'),
    ('catch_up_limit => 1001'),
    ('catch_up_limit => null'),
    ('overlap => ''queue'''),
    ('overlap => ''Skip'''),
    ('overlap => null'),
    ('jitter => ''-1 microsecond'''),
    ('jitter => ''100 years 1 second'''),
    ('jitter => null'),
    ('starts_at => ''2030-02-01 00:00:01+00'', ends_at => ''2030-02-01 00:00:00+00'''),
    ('starts_at => ''infinity'''),
    ('input => null'),
    ('priority => 101'),
    ('expires => ''0'''),
    ('timeout => ''999 microseconds'''),
    ('timeout => ''100 years 1 second'''),
    ('heartbeat => ''99.999 milliseconds'''),
    ('retention => ''-1 microsecond'''),
    ('headers => ''[]'''),
    ('headers => ''null'''),
    ('retry_policy => row(0, ''1 s'', ''60 s'', 2, 0.5)'),
    ('retry_policy => row(null, null, null, null, null)')
) as given (argument);

select throws_ok(
    pg_temp.call_with(given.argument), 'UW001', given.message,
    format('the message for %s names the argument and its value', given.argument)
)
from (values
    ('catch_up => ''never''', 'catch_up is ''never'''),
    ('catch_up_limit => 1001', 'catch_up_limit is 1001'),
    ('catch_up_limit => null', 'catch_up_limit is null'),
    ('overlap => ''queue''', 'overlap is ''queue'''),
    ('jitter => ''-1 s''', 'jitter is -00:00:01')
) as given (argument, message);

-- the input

select pg_temp.refuses(
    pg_temp.call_with('input => to_jsonb(repeat(''a'', 1048575))'), 'UW007', 'an input that is too large is refused'
);

-- the expression

select pg_temp.refuses(
    pg_temp.call_with(given.arguments, cron => given.cron), 'UW008', format('%s is refused', given.description)
)
from (values
    (null, null, 'a null expression'),
    (null, '', 'an empty expression'),
    (null, '0 * * *', 'an expression of four fields'),
    (null, '0 0 * * * * * *', 'an expression of eight fields'),
    (null, '@often', 'an unknown @name'),
    (null, '60 * * * *', 'an invalid minute'),
    (null, '0 24 * * *', 'an invalid hour'),
    (null, '0 0 * * funday', 'an invalid day of week'),
    ('time_zone => ''Mars/Olympus''', '0 0 * * *', 'an unknown zone'),
    ('time_zone => ''''', '0 0 * * *', 'an empty zone'),
    ('time_zone => ''Asia/Tokyo''', '@daily[Europe/Berlin]', 'two different zones'),
    (null, '@daily[Mars/Olympus]', 'an unknown zone in brackets'),
    (null, '@daily[Europe/Berlin', 'an unclosed bracket'),
    (null, '0 0 30 2 *', '30 February'),
    (null, '0 0 31 4,6,9,11 *', 'the 31st of the short months'),
    (null, '0 0 0 1 1 * 2029', 'a year in the past'),
    (null, '0 0 12 1 1 * 2030', 'a single time that is now'),
    ('starts_at => ''2032-01-01 00:00:01+00''', '0 0 0 1 1 * 2032', 'a start after the last time'),
    ('ends_at => ''2030-01-01 12:59:59+00''', '0 * * * *', 'an end before the first time'),
    ('ends_at => ''2029-01-01 00:00:00+00''', '0 * * * *', 'an end in the past'),
    ('ends_at => ''-infinity''', '0 * * * *', 'an end of -infinity'),
    (
        'starts_at => ''2030-01-01 13:00:01+00'', ends_at => ''2030-01-01 13:59:59+00''', '0 * * * *',
        'a period that contains no time'
    )
) as given (arguments, cron, description);

select throws_like(
    pg_temp.call_with('time_zone => ''Europe/Berlin''', cron => '0 0 30 2 *'),
    '%''0 0 30 2 *'' in Europe/Berlin matches no time%',
    'the message for an expression that matches no time shows it and its zone'
);

select throws_like(
    pg_temp.call_with('time_zone => ''Mars/Olympus'''), '%''Mars/Olympus''%',
    'the message for an unknown zone shows it'
);

-- nothing is stored

select is_empty('select from underway.schedule', 'a refused schedule is not stored');

-- a refused replacement does not change the schedule

select underway.schedule('kept', 'email', '0 * * * *', priority => 3);
create temporary table before on commit drop as select s.* from underway.schedule s;
select underway_test.advance_clock('90 minutes');

select throws_ok(
    pg_temp.call_with(given.arguments, 'kept', given.queue, given.cron), given.code, null,
    format('a replacement with %s is refused', given.description)
)
from (values
    ('priority => 4, catch_up_limit => 0', 'email', '0 * * * *', 'UW001', 'one bad argument'),
    ('priority => 4', 'fax', '0 * * * *', 'UW003', 'a queue that does not exist'),
    ('priority => 4, input => to_jsonb(repeat(''a'', 1048575))', 'email', '0 * * * *', 'UW007', 'too large an input'),
    ('priority => 4', 'email', '0 0 30 2 *', 'UW008', 'an expression that matches no time'),
    ('priority => 4', 'email', '61 * * * *', 'UW008', 'an expression that is invalid'),
    ('priority => 4, time_zone => ''Mars/Olympus''', 'email', '0 * * * *', 'UW008', 'an unknown zone'),
    (
        'priority => 4, ends_at => ''2030-01-01 13:00:00+00''', 'email', '0 * * * *', 'UW008',
        'an end that has passed'
    )
) as given (arguments, queue, cron, code, description);

select results_eq(
    'select s.* from underway.schedule s', 'select * from before', 'a refused replacement leaves the schedule unchanged'
);

select underway.run_schedules();
select is(underway_test.times_of('kept'), '{13:00}', 'a schedule whose replacement was refused still runs');

-- an input that looks like SQL

select lives_ok(
    $$ select underway.schedule('quoted', 'email', '@daily', input => '"''; drop table underway.schedule; --"') $$,
    'an input that looks like SQL is stored as it is'
);

select * from finish();
rollback;
