-- what the limits of a queue may be

begin;
select plan(21);

select underway.create_queue('email', max_running => 5, rate_limit => 6, rate_period => '7 seconds', max_length => 8);

-- refusals

select throws_ok(
    format('select underway.create_queue(%L, %s => %L)', 'email', given.setting, given.value),
    'UW001', format('%s is %s of queue ''email''', given.setting, given.value),
    format('%s of %s is refused with its value', given.setting, given.value)
)
from (values
    ('max_running', -1),
    ('max_running', -2147483648),
    ('max_running_per_key', 0),
    ('max_running_per_key', -1),
    ('rate_limit', -1),
    ('max_length', -1)
) as given (setting, value);

select throws_ok(
    format('select underway.create_queue(%L, rate_period => %L)', 'email', given.value),
    'UW001', format('rate_period is %s', given.value::interval),
    format('rate_period of %s is refused with its value', given.value)
)
from (values ('0'), ('999 microseconds'), ('-1 second'), ('100 years 1 second')) as given (value);

select is(
    underway_test.hint_of($$ select underway.create_queue('email', max_running => -1) $$),
    'Give a positive number; 0 takes a limit away, except max_running_per_key, which is at least 1.',
    'the hint says how a limit is taken away'
);
select throws_ok(
    $$ select underway.create_queue('email', max_running => 9, rate_limit => 9, max_length => -9) $$,
    'UW001', null,
    'a limit out of bounds spoils the whole call'
);
select throws_ok(
    $$ select underway.create_queue('sms', max_running => -1) $$, 'UW001', null,
    'a queue is not created with a limit out of bounds'
);
select results_eq(
    $$
        select name collate "default", max_running, max_running_per_key, rate_limit, rate_period, max_length
        from underway.queue
    $$,
    $$ values ('email', 5, 1, 6, '7 seconds'::interval, 8) $$,
    'a refusal leaves the queues as they were'
);

-- the bounds

select lives_ok(
    format('select underway.create_queue(%L, %s)', 'bounds', given.setting),
    format('%s is accepted', given.setting)
)
from (values
    ('max_running => 1, rate_limit => 1, max_length => 1'),
    ('max_running => 0, rate_limit => 0, max_length => 0'),
    ('max_running_per_key => 1'),
    ('max_running => 2147483647, rate_limit => 2147483647, max_length => 2147483647'),
    ('max_running_per_key => 2147483647'),
    ('rate_period => ''1 millisecond'''),
    ('rate_period => ''100 years''')
) as given (setting);

select * from finish();
rollback;
