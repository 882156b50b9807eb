-- queues that have a limit of length

begin;
select plan(21);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('other');
update underway.queue q set max_length = 3 where q.name = 'email';

-- up to the limit and not over it

select lives_ok(
    $$ select underway.enqueue_many('email', '{1,2,3}') $$, 'a queue takes as many tasks as its max_length'
);

select throws_ok(
    $$ select underway.enqueue('email') $$, 'UW011',
    $$queue 'email' is full: 3 tasks wait there, and with 1 more there were more than its max_length of 3$$,
    'one more is refused with the length and the limit'
);

select is(
    underway_test.hint_of($$ select underway.enqueue('email') $$),
    'Try again when its workers have caught up, or give it a greater max_length.', 'the hint says what to do'
);

select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'a') $$, 'UW011',
    $$queue 'email' is full: 3 tasks wait there, and with 1 more there were more than its max_length of 3$$,
    'a task with a unique key is refused with the same message'
);

select is((select count(*) from underway.task), 3::bigint, 'a refused task is not inserted');

select lives_ok($$ select underway.enqueue('other') $$, 'a queue without a limit takes any number');

-- what counts

create temp table claimed as select * from underway.dequeue('email', 2);

select lives_ok($$ select underway.enqueue_many('email', '{4,5}') $$, 'a running task does not count');

select throws_ok($$ select underway.enqueue('email') $$, 'UW011', null, 'a queue is full again when new tasks took the places of running ones');

select underway.release(claimed.id, claimed.lease) from claimed limit 1;

select throws_ok(
    $$ select underway.enqueue('email') $$, 'UW011',
    $$queue 'email' is full: 4 tasks wait there, and with 1 more there were more than its max_length of 3$$,
    'a released task counts, even beyond max_length'
);

select underway.complete(t.id, t.lease) from underway.task t where t.state = 'in_progress';
select underway.cancel(t.id) from underway.task t where t.queue = 'email' order by t.id limit 2;

select lives_ok($$ select underway.enqueue('email', delay => '1 day', priority => 7) $$, 'a finished task does not count');

select throws_ok(
    $$ select underway.enqueue('email', delay => '1 hour') $$, 'UW011', null,
    'delayed tasks and tasks of other priorities count'
);

update underway.task t
set parked = true, concurrency_key = 'a'
where t.id = (select min(l.id) from underway.task l where l.queue = 'email' and l.state = 'pending');

select throws_ok($$ select underway.enqueue('email') $$, 'UW011', null, 'a parked task counts');

select throws_ok(
    $$ select underway._check_length('email', 2) $$, 'UW011',
    $$queue 'email' is full: 3 tasks wait there, and with 2 more there were more than its max_length of 3$$,
    'each task counts once'
);

-- batches

update underway.queue q set max_length = 5 where q.name = 'email';

select throws_ok(
    $$ select underway.enqueue_many('email', '{6,7,8}') $$, 'UW011',
    $$queue 'email' is full: 3 tasks wait there, and with 3 more there were more than its max_length of 5$$,
    'a batch that does not fit is refused as a whole'
);

select lives_ok($$ select underway.enqueue_many('email', '{6,7}') $$, 'a batch that fits is taken');

select lives_ok($$ select underway.enqueue_many('email', '{}') $$, 'an empty batch is accepted by a full queue');

update underway.queue q set max_length = 6 where q.name = 'email';

select lives_ok(
    $$ select underway.enqueue_many('email', '{1,2,3}', unique_keys => '{a,a,a}') $$,
    'inputs of one unique key count once'
);

select lives_ok(
    $$ select underway.enqueue('email', unique_key => 'a') $$, 'a task whose unique key is taken is accepted by a full queue'
);

select lives_ok(
    $$ select underway.enqueue('email', '7', unique_key => 'a', on_conflict => 'replace') $$, 'a replaced task is accepted by a full queue'
);

-- a priority may be recorded twice

insert into underway.queue_priority (queue, priority) values ('email', 0), ('email', 7);
update underway.queue q set max_length = 7 where q.name = 'email';

select lives_ok(
    $$ select underway.enqueue('email') $$, 'the tasks of a priority that was recorded twice count once'
);

update underway.queue q set max_length = 0 where q.name = 'other';

select throws_ok($$ select underway.enqueue('other') $$, 'UW011', null, 'a max_length of 0 refuses each task');

select * from finish();
rollback;
