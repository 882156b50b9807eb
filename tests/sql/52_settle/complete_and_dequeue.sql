-- settle a batch and claim the next

begin;
select plan(19);

select underway_test.stop_clock();
select underway.create_queue('email', timeout => '2 minutes', heartbeat => '20 seconds');
select underway.create_queue('sms');
select underway.enqueue_many('email', array['0', '1', '2', '3', '4', '5', '6', '7']::jsonb[], job => 'send', headers => '{"trace": "1"}');

create temp table held as
select claimed.id, claimed.lease, claimed.input::integer as number from underway.dequeue('email', 2) claimed;

create temp table worker as select underway.register_worker('crow', array['email']) as id;

select underway_test.advance_clock('1 second');

create temp table next_ as
select claimed.*
from
    (select array_agg(held.id order by held.id) as ids, array_agg(held.lease) as leases from held) as batch,
    worker,
    underway.complete_and_dequeue(batch.ids, batch.leases, '{"\"zero\"","\"one\""}', '{email}', 2, worker.id) as claimed;

select results_eq(
    $$ select h.input::integer, h.output #>> '{}', h.state::text from underway.task_history h order by h.id $$,
    $$ values (0, 'zero', 'succeeded'), (1, 'one', 'succeeded') $$,
    'the batch is settled with its outputs'
);

select results_eq(
    $$
        select next_.input::integer, next_.queue, next_.job, next_.attempt, next_.timeout, next_.heartbeat,
            next_.headers, next_.priority, next_.enqueued_at
        from next_
        order by next_.id
    $$,
    $$
        values
            (2, 'email', 'send', 1, interval '2 minutes', interval '20 seconds', '{"trace": "1"}'::jsonb, 0,
                '2030-01-01 12:00:00+00'::timestamptz),
            (3, 'email', 'send', 1, interval '2 minutes', interval '20 seconds', '{"trace": "1"}'::jsonb, 0,
                '2030-01-01 12:00:00+00'::timestamptz)
    $$,
    'the next are claimed, with all that a claim returns'
);

select results_eq(
    $$ select t.worker, t.lease_expires_at from underway.task t join next_ on next_.id = t.id and next_.lease = t.lease $$,
    $$ select worker.id, '2030-01-01 12:00:21+00'::timestamptz from worker, generate_series(1, 2) $$,
    'by the worker that asked, under the lease that is returned'
);

select isnt(next_.lease, held.lease, 'the next claim has a new lease') from next_, held limit 1;

-- some of the batch is lost

select underway.cancel(next_.id) from next_ where next_.input = '2';

create temp table third as
select row_number() over () as place, claimed.*
from
    (select array_agg(next_.id order by next_.id) as ids, array_agg(next_.lease) as leases from next_) as batch,
    underway.complete_and_dequeue(batch.ids, batch.leases, null, '{email,sms}', 1) as claimed;

select results_eq(
    $$ select third.id, third.queue, third.lease, third.input from third where third.lease is null $$,
    $$ select next_.id, null::text, null::uuid, null::jsonb from next_ where next_.input = '2' $$,
    'a task that was lost comes back by its id, without a lease'
);

select is(
    (select array_agg(third.input) from third where third.lease is not null), array['4']::jsonb[],
    'the next is claimed nevertheless, and the lost one does not count'
);

select is(
    (select h.state::text from underway.task_history h where h.input = '3'), 'succeeded',
    'the tasks whose leases are not lost are settled'
);

-- named twice

select is(
    (
        select array_agg(coalesce(claimed.input::text, 'lost'))
        from
            third,
            underway.complete_and_dequeue(array[third.id, third.id], array[third.lease, third.lease], null, '{email}', 1) as claimed
        where third.lease is not null
    ),
    array['5'],
    'a task that is named twice is settled once and not called lost'
);

-- one half only

create temp table only_claim as select * from underway.complete_and_dequeue('{}', '{}', '{}', '{email}', 1);

select is((select only_claim.input from only_claim), '6', 'an empty batch settles nothing, and the next is claimed');

select is_empty(
    $$
        select *
        from only_claim, underway.complete_and_dequeue(array[only_claim.id], array[only_claim.lease], null, '{email}', 0)
    $$,
    'max_tasks 0 claims nothing'
);

select is(underway_test.state_of(only_claim.id), 'succeeded', 'max_tasks 0 settles the batch') from only_claim;

select is(
    (select claimed.input from underway.complete_and_dequeue(null, null, null, '{email}', 1) as claimed), '7',
    'null arrays settle nothing, and the next task is claimed'
);

select is_empty(
    $$ select * from underway.complete_and_dequeue('{}', '{}', null, '{email,sms}', 10) $$,
    'where nothing is ready nothing is returned'
);

-- the slot of a task that is settled is free for the next only then

select underway.create_queue('self');
select underway.enqueue('self');
create temp table self as select claimed.id, claimed.lease from underway.dequeue('self') claimed;

select is_empty(
    $$ select * from self, underway.complete_and_dequeue(array[self.id], array[self.lease], null, '{self}', 1) $$,
    'a task that is settled is not claimed again'
);

-- refusals settle nothing

create temp table refused as select * from underway_test.held_task();

select throws_ok(
    $$ select underway.complete_and_dequeue(array[refused.id], '{}', null, '{email}', 1) from refused $$,
    'UW001', '1 tasks and 0 leases', 'tasks and leases that do not pair up are refused'
);

select throws_ok(
    $$ select underway.complete_and_dequeue(array[refused.id], array[null::uuid], null, '{email}', 1) from refused $$,
    'UW001', null, 'a null lease is refused'
);

select throws_ok(
    $$ select underway.complete_and_dequeue(array[refused.id], array[refused.lease], null, '{fax}', 1) from refused $$,
    'UW003', $$queue 'fax' does not exist$$, 'a queue that does not exist is refused'
);

select throws_ok(
    $$ select underway.complete_and_dequeue(array[refused.id], array[refused.lease], null, '{email}', 10001) from refused $$,
    'UW001', 'max_tasks is 10001', 'a number of tasks out of bounds is refused'
);

select is(underway_test.state_of(refused.id), 'in_progress', 'a refused call settles nothing') from refused;

select * from finish();
rollback;
