begin;

select plan(2);

select underway.create_queue('dead');
select underway.create_queue(
    'mail', dead_letter_queue => 'dead', retry_policy => underway.retry_policy(max_attempts => 2), timeout => '1 min',
    heartbeat => '2 s', retention => '3 days', keep_history => false, max_running => 4, max_running_per_key => 5,
    rate_limit => 6, rate_period => '7 s', max_length => 8, rate_limit_per_key => 9, fair => true
);

select results_eq(
    $$select to_jsonb(l) - 'retry_policy' from underway.queue_list l where l.queue = 'mail'$$,
    $$select jsonb_build_object(
        'queue', 'mail', 'dead_letter_queue', 'dead', 'timeout', interval '1 min', 'heartbeat', interval '2 s',
        'retention', interval '3 days', 'keep_history', false, 'max_running', 4, 'max_running_per_key', 5,
        'rate_limit', 6, 'rate_period', interval '7 s', 'max_length', 8, 'rate_limit_per_key', 9, 'fair', true
    )$$,
    'a queue is listed with all its settings'
);

select is(
    (select (l.retry_policy).max_attempts from underway.queue_list l where l.queue = 'mail'), 2,
    'its retry policy is listed too'
);

select * from finish();
rollback;
