-- one claim from several queues

begin;
select plan(19);

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
    'the highest priority of all given queues comes first, each task with the settings of its queue'
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

select is((select t.state::text from underway.task t where t.queue = 'fax'), 'pending', 'no task of a queue that is not given is claimed');

-- the limit is one for all

select underway.enqueue_many('email', array_fill('1'::jsonb, array[5]));
select underway.enqueue_many('sms', array_fill('1'::jsonb, array[5]));

select is(
    (select count(*) from underway.dequeue(array['email', 'sms'], 7)), 7::bigint,
    'max_tasks counts over all queues together'
);

select is(
    (select count(*) from underway.dequeue(array['email', 'sms'], 7)), 3::bigint,
    'one queue fills the claim when the other has no more tasks'
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
    'a queue that is given twice gives its tasks once'
);

-- no queue starves

select underway.enqueue_many('email', array_fill('1'::jsonb, array[200]));
select underway.enqueue_many('sms', array_fill('1'::jsonb, array[200]));

create temp table turn as
select dequeued.queue from generate_series(1, 100) as number, lateral (select * from underway.dequeue(array['email', 'sms'], number - number + 1)) as dequeued;

select is(
    (select count(distinct turn.queue) from turn), 2::bigint,
    'queues of one priority are served in random order, so that each gets its turn'
);

-- paused queues

select underway.pause_queue('email');

select is(
    (select array_agg(distinct dequeued.queue) from underway.dequeue(array['email', 'sms'], 400) as dequeued), array['sms'],
    'a paused queue is skipped'
);

-- more than ten queues

select underway.create_queue('many_' || to_char(number, 'FM000')) from generate_series(1, 200) number;
create temp table many as select array_agg(q.name) as queues from underway.queue q where q.name like 'many%';

select is_empty('select dequeued.* from many, underway.dequeue(many.queues, 10) dequeued', 'a claim from 200 empty queues takes no task');

select underway.enqueue('many_' || to_char(number, 'FM000'), to_jsonb(number), priority => number % 3)
from generate_series(1, 200) number;

select results_eq(
    'select dequeued.priority from many, underway.dequeue(many.queues, 60) with ordinality dequeued order by dequeued.ordinality',
    'select 2 from generate_series(1, 60)', 'a claim from 200 queues takes the highest priority of all of them first'
);
select is(
    (select count(distinct dequeued.queue) from many, underway.dequeue(many.queues, 1000) dequeued), 140::bigint,
    'a claim from 200 queues takes the tasks of all of them'
);

update underway.queue q set fair = true where q.name = 'many_100';
select underway_test.keyed_tasks('a1 a2', 'many_100');
select is(
    (select string_agg(dequeued.input #>> '{}', ' ') from many, underway.dequeue(many.queues, 10) dequeued), 'a1',
    'a claim from 200 queues keeps the limits of each'
);
update underway.queue q set rate_limit_per_key = 1 where q.name = 'many_100';
insert into underway.ready_key (queue, concurrency_key, check_at) values ('many_100', 'b', underway._clock());
select underway_test.keyed_tasks('b1', 'many_100');
update underway.task t set parked = true where t.input = '"b1"';
select from many, underway.dequeue(many.queues, 10);
select underway_test.advance_clock('1 millisecond');
select is(
    (select string_agg(dequeued.input #>> '{}', ' ') from many, underway.dequeue(many.queues, 10) dequeued), 'b1',
    'a claim from 200 queues looks at keys that have tokens again'
);
select throws_ok(
    $$ select underway.dequeue(many.queues || 'pigeon'::text, 1) from many $$, 'UW003', $$queue 'pigeon' does not exist$$,
    'a queue that does not exist is refused among 200 that do'
);

-- edges

select is_empty($$ select * from underway.dequeue('{}'::text[], 10) $$, 'a claim from no queues takes no task');

select throws_ok(
    $$ select underway.dequeue(array['sms', 'pigeon'], 1) $$, 'UW003', $$queue 'pigeon' does not exist$$,
    'a queue that does not exist is refused beside one that does'
);

select throws_ok($$ select underway.dequeue(null::text[]) $$, 'UW003', null, 'queues that are null are refused');

select * from finish();
rollback;
