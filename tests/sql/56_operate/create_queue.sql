begin;
select plan(19);

create temporary view setting as
select dead_letter_queue collate "default" as dead_letter_queue, retry_policy, timeout, heartbeat, retention, keep_history
from underway.queue where name = 'email';

-- a new queue

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

select results_eq(
    'select * from setting',
    $$ values (
        null::text, row(5, '1 s', '60 s', 2.0, 0.5)::underway.retry_policy,
        '15 minutes'::interval, '30 seconds'::interval, '14 days'::interval, true
    ) $$,
    'a new queue has the default settings'
);

select results_eq(
    'select name collate "default", paused_at, created_at from underway.queue',
    $$ values ('email', null::timestamptz, '2030-01-01 12:00:00+00'::timestamptz) $$,
    'a new queue runs, and knows when it was created'
);

select results_eq(
    'select queue collate "default", priority from underway.queue_priority',
    $$ values ('email', 0) $$,
    'claims from a new queue look at the default priority'
);

-- what is given is stored

select underway.create_queue('dead');
select underway.create_queue('dead too');
select underway.create_queue(
    'email',
    dead_letter_queue => 'dead',
    retry_policy => underway.retry_policy(max_attempts => 9),
    timeout => '1 minute',
    heartbeat => '3 seconds',
    retention => '2 days',
    keep_history => false
);

create temporary table given on commit drop as select * from setting;

select results_eq(
    'select * from given',
    $$ values (
        'dead', row(9, '1 s', '60 s', 2.0, 0.5)::underway.retry_policy,
        '1 minute'::interval, '3 seconds'::interval, '2 days'::interval, false
    ) $$,
    'settings that are given are stored'
);

-- what is left out is kept

select underway.create_queue('email');

select results_eq(
    'select * from setting', 'select * from given',
    'creating a queue again changes nothing'
);

select underway.create_queue('email', dead_letter_queue => 'dead too');
update given set dead_letter_queue = 'dead too';
select results_eq('select * from setting', 'select * from given', 'the dead-letter queue alone is changed');

select underway.create_queue('email', retry_policy => underway.retry_policy(jitter => 0));
update given set retry_policy = underway.retry_policy(jitter => 0);
select results_eq('select * from setting', 'select * from given', 'the retry policy alone is changed');

select underway.create_queue('email', timeout => '2 minutes');
update given set timeout = '2 minutes';
select results_eq('select * from setting', 'select * from given', 'the timeout alone is changed');

select underway.create_queue('email', heartbeat => '6 seconds');
update given set heartbeat = '6 seconds';
select results_eq('select * from setting', 'select * from given', 'the heartbeat alone is changed');

select underway.create_queue('email', retention => '0');
update given set retention = '0';
select results_eq('select * from setting', 'select * from given', 'the time to live alone is changed');

select underway.create_queue('email', keep_history => true);
update given set keep_history = true;
select results_eq('select * from setting', 'select * from given', 'whether there is a history alone is changed');

select underway_test.advance_clock('1 hour');
select underway.pause_queue('email');
select underway.create_queue('email', timeout => '3 minutes');

select results_eq(
    $$ select paused_at, created_at from underway.queue where name = 'email' $$,
    $$ values ('2030-01-01 13:00:00+00'::timestamptz, '2030-01-01 12:00:00+00'::timestamptz) $$,
    'a change neither resumes a paused queue nor makes it younger'
);

select is(
    (select count(*) from underway.queue_priority where queue = 'email'), 1::bigint,
    'creating a queue again does not list its priority again'
);

select results_eq(
    $$ select timeout, heartbeat from underway.queue where name = 'dead' $$,
    $$ values ('15 minutes'::interval, '30 seconds'::interval) $$,
    'a change of one queue leaves the others alone'
);

-- a change holds for the backlog

select underway.create_queue('invoice');
select underway.enqueue('invoice');
select underway.enqueue('invoice', timeout => '9 minutes', heartbeat => '9 seconds');
select underway.create_queue('invoice', timeout => '1 minute', heartbeat => '5 seconds');

select results_eq(
    $$ select timeout, heartbeat from underway.dequeue('invoice', 2) $$,
    $$ values ('1 minute'::interval, '5 seconds'::interval), ('9 minutes', '9 seconds') $$,
    'a change holds for tasks that were there before, unless they have their own settings'
);

-- names

select lives_ok(
    format('select underway.create_queue(%L)', given.name),
    format('%s is a name', given.description)
)
from (values
    ('a', 'one character'),
    (repeat('a', 128), 'one of 128 characters'),
    ('two words, it''s "quoted" %s; -- \', 'one with blanks, quotes and signs'),
    ('räksmörgås 邮件', 'one in any language')
) as given (name, description);

select * from finish();
rollback;
