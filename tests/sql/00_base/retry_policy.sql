begin;
select plan(38);

-- parts

select is(
    underway.retry_policy(), row(5, '1 second', '60 seconds', 2.0, 0.5)::underway.retry_policy,
    'the default policy has 5 attempts, delays from 1 to 60 seconds, factor 2 and jitter 0.5'
);

select is(
    underway.retry_policy(
        max_attempts => 3, initial_interval => '2 s', max_interval => '3 s', factor => 4, jitter => 0.25
    ),
    row(3, '2 seconds', '3 seconds', 4, 0.25)::underway.retry_policy,
    'each argument sets the part of its name'
);

select is(
    underway.retry_policy(max_attempts => 9), row(9, '1 second', '60 seconds', 2.0, 0.5)::underway.retry_policy,
    'an omitted part has its default'
);

-- bounds

select lives_ok(
    format('select underway.retry_policy(%s)', given.parts),
    format('%s is accepted', given.parts)
)
from (values
    ('max_attempts => 1'),
    ('max_attempts => 2147483647'),
    ('initial_interval => ''0'''),
    ('initial_interval => ''100 years'''),
    ('max_interval => ''0'''),
    ('max_interval => ''100 years'''),
    ('initial_interval => ''2 hours'', max_interval => ''1 hour'''),
    ('factor => 1'),
    ('factor => 1e6'),
    ('jitter => 0'),
    ('jitter => 1')
) as given (parts);

select throws_ok(
    format('select underway.retry_policy(%s)', given.parts),
    'UW001', null,
    format('%s is refused', given.parts)
)
from (values
    ('max_attempts => 0'),
    ('max_attempts => -1'),
    ('max_attempts => null'),
    ('initial_interval => ''-1 microsecond'''),
    ('initial_interval => ''100 years 1 microsecond'''),
    ('initial_interval => null'),
    ('max_interval => ''-1 microsecond'''),
    ('max_interval => ''100 years 1 microsecond'''),
    ('max_interval => null'),
    ('factor => 0.999999'),
    ('factor => 0'),
    ('factor => 1000001'),
    ('factor => ''NaN'''),
    ('factor => ''infinity'''),
    ('factor => null'),
    ('jitter => -0.000001'),
    ('jitter => 1.000001'),
    ('jitter => ''NaN'''),
    ('jitter => null')
) as given (parts);

select throws_ok(
    'select underway.retry_policy(max_attempts => 0)',
    'UW001', 'retry policy (0,00:00:01,00:01:00,2,0.5): max_attempts must be at least 1',
    'the message contains the policy and the problem'
);

-- a policy that was built as a row

select lives_ok(
    $$ select underway._check_retry_policy(row(5, '1 s', '60 s', 2, 0.5)) $$,
    'a row with valid parts is accepted'
);

select throws_ok(
    $$ select underway._check_retry_policy(row(5, null, '60 s', 2, 0.5)) $$,
    'UW001', 'retry policy (5,,00:01:00,2,0.5): every part must be given',
    'a row with a part that is null is refused'
);

select throws_ok(
    $$ select underway._check_retry_policy(row(null, null, null, null, null)) $$,
    'UW001', null,
    'a row of nulls is refused'
);

select throws_ok(
    $$ select underway._check_retry_policy(null) $$,
    'UW001', null,
    'a null policy is refused'
);

select * from finish();
rollback;
