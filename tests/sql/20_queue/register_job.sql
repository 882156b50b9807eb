-- what is stored of a job, and what is refused

begin;
select plan(24);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('dead');

select underway.register_job(
    'send_mail', 'email', retry_policy => underway.retry_policy(3), timeout => '1 minute', heartbeat => '10 seconds',
    retention => '1 day', priority => 5, dead_letter_queue => 'dead', concurrency_key => 'smtp', expires => '1 hour',
    owner => 'shop'
);

select is(
    (select to_jsonb(j) from underway.job_list j),
    jsonb_build_object(
        'job', 'send_mail', 'queue', 'email', 'retry_policy', to_jsonb(underway.retry_policy(3)), 'timeout', '00:01:00',
        'heartbeat', '00:00:10', 'retention', '1 day', 'priority', 5, 'dead_letter_queue', 'dead', 'concurrency_key', 'smtp',
        'expires', '01:00:00', 'owner', 'shop', 'registered_at', '2030-01-01 12:00:00+00'::timestamptz,
        'updated_at', '2030-01-01 12:00:00+00'::timestamptz
    ),
    'a job is stored with all its settings'
);

-- declared again

create temporary table stored on commit drop as select ctid as place, * from underway.job;
select underway_test.advance_clock('1 day');
select underway.register_job(
    'send_mail', 'email', retry_policy => underway.retry_policy(3), timeout => '1 minute', heartbeat => '10 seconds',
    retention => '1 day', priority => 5, dead_letter_queue => 'dead', concurrency_key => 'smtp', expires => '1 hour',
    owner => 'shop'
);
select results_eq(
    'select ctid, * from underway.job', 'select * from stored', 'a job that has not changed is not written'
);

select underway.register_job('send_mail', 'email', timeout => '2 minutes');
select is(
    (
        select (to_jsonb(j) - array(select key from jsonb_each(to_jsonb(j)) where value = 'null'))
        from underway.job_list j
    ),
    jsonb_build_object(
        'job', 'send_mail', 'queue', 'email', 'timeout', '00:02:00',
        'registered_at', '2030-01-01 12:00:00+00'::timestamptz, 'updated_at', '2030-01-02 12:00:00+00'::timestamptz
    ),
    'a job is replaced as a whole: an omitted setting is taken away'
);

select underway.register_job('send_mail', 'dead', timeout => '2 minutes');
select is((select queue from underway.job_list), 'dead', 'a job can move to another queue');

-- queues

select throws_ok(
    $$ select underway.register_job('send_mail', 'nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'the queue of a job has to exist'
);
select throws_ok(
    $$ select underway.register_job('send_mail', null) $$,
    'UW003', null,
    'a job has a queue'
);
select throws_ok(
    $$ select underway.register_job('send_mail', 'email', dead_letter_queue => 'nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'the dead-letter queue of a job has to exist'
);
select throws_ok(
    $$ select underway.register_job('send_mail', 'email', dead_letter_queue => 'email') $$,
    'UW001', null,
    'the dead-letter queue of a job is not its own queue'
);

select underway.register_job('send_mail', 'email', dead_letter_queue => 'dead');
select underway.register_job('bury', 'dead');
select lives_ok($$ select underway.drop_queue('dead') $$, 'a queue of jobs can be dropped');
select results_eq(
    'select job collate "default", dead_letter_queue collate "default" from underway.job_list', $$ values ('send_mail', null::text) $$,
    'its jobs are gone with it, and a job whose dead-letter queue it was has none any more'
);

-- what is refused

select throws_ok(
    format('select underway.register_job(%s)', given.arguments), 'UW001', given.message, given.message || ' is refused'
)
from (
    values
        ($$ null, 'email' $$, 'NULL cannot be the name of a job'),
        ($$ '', 'email' $$, ''''' cannot be the name of a job'),
        ($$ E'a\nb', 'email' $$, E'''a\nb'' cannot be the name of a job'),
        ($$ 'x', 'email', timeout => '0' $$, 'timeout is 00:00:00'),
        ($$ 'x', 'email', heartbeat => '99 milliseconds' $$, 'heartbeat is 00:00:00.099'),
        ($$ 'x', 'email', retention => '-1 second' $$, 'retention is -00:00:01'),
        ($$ 'x', 'email', expires => '0' $$, 'expires is 00:00:00'),
        ($$ 'x', 'email', expires => '101 years' $$, 'expires is 101 years'),
        ($$ 'x', 'email', priority => 101 $$, 'priority is 101'),
        ($$ 'x', 'email', concurrency_key => '' $$, 'the concurrency key of job ''x'' has 0 bytes'),
        ($$ 'x', 'email', retry_policy => (0, '1 s', '1 s', 1, 0)::underway.retry_policy $$, null),
        ($$ 'x', 'email', retry_policy => (1, null, null, 1, 0)::underway.retry_policy $$, null)
) as given (arguments, message);

select lives_ok(
    $$ select underway.register_job('shop.mail:send(order)', 'email') $$, 'a job may have any printable name'
);

select ok(
    (select updated_at > registered_at from underway.job_list where job = 'send_mail'),
    'updated_at is the time of the last change'
);

select * from finish();
rollback;
