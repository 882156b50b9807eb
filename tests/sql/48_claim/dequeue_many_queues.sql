-- one claim from several queues

begin;
select plan(13);

select underway_test.stop_clock();
select underway.create_queue('email', timeout => '1 minute', heartbeat => '10 seconds');
select underway.create_queue('sms', timeout => '2 minutes', heartbeat => '20 seconds');
select underway.create_queue('fax', timeout => '3 minutes', heartbeat => '30 seconds');

select underway.enqueue('email', priority => 1);
select underway.enqueue('sms', priority => 3);
select underway.enqueue('fax', priority => 2);
select underway.enqueue('email', priority => 4);

create temp table claimed as select row_number() over () as place, dequeued.* from underway.dequeue(array['email', 'sms'], 10) as dequeued;

select results_eq(
    $$ select claimed.queue, claimed.priority, claimed.timeout, claimed.heartbeat from claimed order by claimed.place $$,
    $$
        values
            ('email', 4, interval '1 minute', interval '10 seconds'),
            ('sms', 3, interval '2 minutes', interval '20 seconds'),
            ('email', 1, interval '1 minute', interval '10 seconds')
    $$,
    'the highest priority comes first, over all the queues that are asked for, each with its own settings'
);

select is((select count(distinct claimed.lease) from claimed), 1::bigint, 'one claim has one lease');

select results_eq(
    $$ select t.priority, t.lease_expires_at from underway.task t where t.state = 'in_progress' order by t.id $$,
    $$
        values
            (1, '2030-01-01 12:00:10+00'::timestamptz),
            (3, '2030-01-01 12:00:20+00'),
            (4, '2030-01-01 12:00:10+00')
    $$,
    'each lease lasts as long as its queue says'
);

select is((select t.state::text from underway.task t where t.queue = 'fax'), 'pending', 'no other queue is touched');

-- the limit is one for all

select underway.enqueue_many('email', array_fill('1'::jsonb, array[5]));
select underway.enqueue_many('sms', array_fill('1'::jsonb, array[5]));

select is(
    (select count(*) from underway.dequeue(array['email', 'sms'], 7)), 7::bigint,
    'the limit is one for all queues together'
);

select is(
    (select count(*) from underway.dequeue(array['email', 'sms'], 7)), 3::bigint,
    'what one queue does not fill the other does'
);

-- within one queue and priority the order holds

select underway.enqueue_many('email', '{1,2,3}');
select underway.enqueue_many('sms', '{1,2,3}');

create temp table ordered as select row_number() over () as place, dequeued.* from underway.dequeue(array['email', 'sms'], 10) as dequeued;

select results_eq(
    $$ select ordered.queue, array_agg(ordered.input order by ordered.place) from ordered group by ordered.queue order by ordered.queue $$,
    $$ values ('email', '{1,2,3}'::jsonb[]), ('sms', '{1,2,3}') $$,
    'within a queue and a priority the order is that of insertion'
);

-- named twice

select underway.enqueue_many('email', '{1,2}');

select is(
    (select count(*) from underway.dequeue(array['email', 'email'], 10)), 2::bigint,
    'a queue that is named twice gives its tasks once'
);

-- no queue starves

select underway.enqueue_many('email', array_fill('1'::jsonb, array[200]));
select underway.enqueue_many('sms', array_fill('1'::jsonb, array[200]));

create temp table turn as
select dequeued.queue from generate_series(1, 100) as number, lateral (select * from underway.dequeue(array['email', 'sms'], number - number + 1)) as dequeued;

select is(
    (select count(distinct turn.queue) from turn), 2::bigint,
    'queues of one priority take turns, whatever waits in the other'
);

-- paused queues are passed over

select underway.pause_queue('email');

select is(
    (select array_agg(distinct dequeued.queue) from underway.dequeue(array['email', 'sms'], 400) as dequeued), array['sms'],
    'a paused queue is passed over'
);

-- edges

select is_empty($$ select * from underway.dequeue('{}'::text[], 10) $$, 'no queue gives nothing');

select throws_ok(
    $$ select underway.dequeue(array['sms', 'pigeon'], 1) $$, 'UW003', $$queue 'pigeon' does not exist$$,
    'a queue that does not exist is refused, whatever the others hold'
);

select throws_ok($$ select underway.dequeue(null::text[]) $$, 'UW003', null, 'queues that are null are refused');

select * from finish();
rollback;
