begin;
select plan(35);

-- names

select throws_ok(
    format('select underway.create_queue(%L)', given.name),
    'UW001', null,
    format('%s is no name', given.description)
)
from (values
    (null, 'nothing'),
    ('', 'an empty one'),
    (' ', 'a blank'),
    (' email', 'one that begins with a blank'),
    ('email ', 'one that ends with a blank'),
    (E'email\n', 'one that ends with a line'),
    (E'e\nmail', 'one of two lines'),
    (E'e\tmail', 'one with a tab'),
    (E'e\x1bmail', 'one with an escape'),
    (E'e\x7fmail', 'one with a delete'),
    (repeat('a', 129), 'one of 129 characters')
) as given (name, description);

select throws_ok(
    $$ select underway.create_queue(' email') $$,
    'UW001', ''' email'' cannot be the name of a queue',
    'the message shows the name as it was given'
);

-- settings

select underway.create_queue('email');

select throws_ok(
    format('select underway.create_queue(%L, %s)', 'email', given.setting),
    'UW001', null,
    format('%s is refused', given.setting)
)
from (values
    ('timeout => ''0'''),
    ('timeout => ''999 microseconds'''),
    ('timeout => ''-1 hour'''),
    ('timeout => ''100 years 1 second'''),
    ('heartbeat => ''99.999 milliseconds'''),
    ('heartbeat => ''-1 hour'''),
    ('heartbeat => ''100 years 1 second'''),
    ('retention => ''-1 microsecond'''),
    ('retention => ''100 years 1 second'''),
    ('retry_policy => row(0, ''1 s'', ''60 s'', 2, 0.5)'),
    ('retry_policy => row(5, ''-1 s'', ''60 s'', 2, 0.5)'),
    ('retry_policy => row(5, ''1 s'', ''-1 s'', 2, 0.5)'),
    ('retry_policy => row(5, ''1 s'', ''60 s'', 0.5, 0.5)'),
    ('retry_policy => row(5, ''1 s'', ''60 s'', 2, 1.5)'),
    ('retry_policy => row(5, null, ''60 s'', 2, 0.5)'),
    ('retry_policy => row(0, null, ''60 s'', 2, 0.5)'),
    ('retry_policy => row(null, null, null, null, null)')
) as given (setting);

select lives_ok(
    $$ select underway.create_queue('bounds', timeout => '1 ms', heartbeat => '100 ms', retention => '0') $$,
    'the shortest settings are accepted'
);

select lives_ok(
    $$ select underway.create_queue('bounds', timeout => '100 years', heartbeat => '100 years', retention => '100 years') $$,
    'the longest settings are accepted'
);

-- a refusal changes nothing

select throws_ok(
    $$ select underway.create_queue('invoice', timeout => '0') $$,
    'UW001', 'timeout is 00:00:00',
    'a queue is not created with a setting out of bounds'
);

select throws_ok(
    $$ select underway.create_queue('email', timeout => '1 minute', retention => '-1 day') $$,
    'UW001', null,
    'a setting out of bounds spoils the whole call'
);

select results_eq(
    'select name collate "default", timeout, heartbeat, retention, retry_policy from underway.queue where name <> ''bounds''',
    $$ values (
        'email', '15 minutes'::interval, '30 seconds'::interval, '14 days'::interval, underway.retry_policy()
    ) $$,
    'a refusal leaves the queues as they were'
);

select is(
    (select count(*) from underway.queue_priority), 2::bigint,
    'a refusal leaves the priorities as they were'
);

select * from finish();
rollback;
