begin;
select plan(14);

-- bounds

select lives_ok(
    format('select underway._check_interval(%L, %L, %L)', 'delay', given.value, given.shortest),
    format('%s is accepted with the lower bound %s', coalesce(given.value, 'null'), given.shortest)
)
from (values
    ('0', '0'),
    ('100 milliseconds', '100 milliseconds'),
    ('1 day', '1 millisecond'),
    ('100 years', '0'),
    (null, '1 millisecond')
) as given (value, shortest);

select throws_ok(
    format('select underway._check_interval(%L, %L, %L)', 'delay', given.value, given.shortest),
    'UW001', null,
    format('%s is refused with the lower bound %s', given.value, given.shortest)
)
from (values
    ('-1 microsecond', '0'),
    ('-1 month', '0'),
    ('999 microseconds', '1 millisecond'),
    ('0', '1 millisecond'),
    ('100 years 1 microsecond', '0'),
    ('178000000 years', '0')
) as given (value, shortest);

-- message and hint

select throws_ok(
    $$ select underway._check_interval('heartbeat', '1 millisecond', '100 milliseconds') $$,
    'UW001', 'heartbeat is 00:00:00.001',
    'the message names the argument and its value'
);

select is(
    underway_test.hint_of($$ select underway._check_interval('heartbeat', '1 millisecond', '100 milliseconds') $$),
    'Give a heartbeat between 00:00:00.1 and 100 years.',
    'the hint names the bounds'
);

select is(
    underway_test.hint_of($$ select underway._check_interval('heartbeat', '1 second', '100 milliseconds') $$),
    null,
    'a value within the bounds raises no error'
);

select * from finish();
rollback;
