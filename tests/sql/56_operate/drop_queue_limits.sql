begin;
select plan(8);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit => 4, rate_period => '1 hour');
select underway.create_queue('sms', rate_limit => 4, rate_period => '1 hour');
select underway_test.keyed_tasks('a1 a2 a3 b1');
select underway_test.keyed_tasks('a4 b2', 'sms');
select underway.pause_key(name, 'b') from unnest('{email,sms}'::text[]) as name;
select is(underway_test.claimed() || ' ' || underway_test.claimed(100, 'sms'), 'a1 a4', 'one task per concurrency key is claimed in both queues');

select underway.drop_queue('email', force => true);

-- the rows of the limits

select is_empty(
    $$
        select from underway.ready_key where queue = 'email'
        union all
        select from underway.paused_key where queue = 'email'
        union all
        select from underway.token_bucket where queue = 'email'
    $$,
    'a dropped queue leaves no concurrency key and no tokens behind'
);
select set_eq(
    $$
        select 'paused ' || p.concurrency_key from underway.paused_key p where p.queue = 'sms'
        union all
        select 'tokens ' || b.tokens from underway.token_bucket b where b.queue = 'sms'
    $$,
    $$ values ('paused b'), ('tokens 3') $$,
    'the paused keys and tokens of other queues stay'
);

-- the queue is created again

select underway.create_queue('email', rate_limit => 4, rate_period => '1 hour');
select underway_test.keyed_tasks('a1 a2 b1 c1');
select is(underway_test.claimed(), 'a1 b1 c1', 'a queue that is created again has no paused key and all of its tokens');
select underway.cancel(t.id) from underway.task t where t.queue = 'email';

-- without force

select underway_test.claimed();
select underway.pause_key('email', 'b');
select underway_test.keyed_tasks('b1');
select throws_ok($$ select underway.drop_queue('email') $$, 'UW006', null, 'a queue with live tasks is refused');
select is((select count(*) from underway.paused_key), 2::bigint, 'the keys of a refused queue stay paused');
select underway.cancel(t.id) from underway.task t where t.queue = 'email';
select lives_ok($$ select underway.drop_queue('email') $$, 'a queue without live tasks is dropped');
select is((select count(*) from underway.paused_key), 1::bigint, 'the paused keys of the dropped queue are removed');

select * from finish();
rollback;
