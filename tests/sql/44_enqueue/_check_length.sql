-- queues that have a limit of length

begin;
select plan(30);

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
    $$queue 'email' is full: 3 tasks pending, 1 more would exceed max_length 3$$,
    'a task above the limit is refused with the length and the limit'
);

select is(
    underway_test.hint_of($$ select underway.enqueue('email') $$),
    'Try again when workers have caught up, or increase max_length.', 'the hint says what to do'
);

select throws_ok(
    $$ select underway.enqueue('email', unique_key => 'a') $$, 'UW011',
    $$queue 'email' is full: 3 tasks pending, 1 more would exceed max_length 3$$,
    'a task with a unique key is refused with the same message'
);

select is((select count(*) from underway.task), 3::bigint, 'a refused task leaves no row');

select lives_ok($$ select underway.enqueue('other') $$, 'a queue without a limit takes any number');

-- what counts

create temp table claimed as select * from underway.dequeue('email', 2);

select lives_ok($$ select underway.enqueue_many('email', '{4,5}') $$, 'a task that runs does not count');

select throws_ok($$ select underway.enqueue('email') $$, 'UW011', null, 'the queue is full again');

select underway.release(claimed.id, claimed.lease) from claimed limit 1;

select throws_ok(
    $$ select underway.enqueue('email') $$, 'UW011',
    $$queue 'email' is full: 4 tasks pending, 1 more would exceed max_length 3$$,
    'a released task counts, although the queue is then above its limit'
);

select underway.complete(t.id, t.lease) from underway.task t where t.state = 'in_progress';
select underway.cancel(t.id) from underway.task t where t.queue = 'email' order by t.id limit 2;

select lives_ok($$ select underway.enqueue('email', delay => '1 day', priority => 7) $$, 'final tasks do not count');

select throws_ok(
    $$ select underway.enqueue('email', delay => '1 hour') $$, 'UW011', null,
    'delayed tasks and tasks of other priorities count'
);

update underway.task t
set parked = true, concurrency_key = 'a'
where t.id = (select min(l.id) from underway.task l where l.queue = 'email' and l.state = 'pending');

select throws_ok($$ select underway.enqueue('email') $$, 'UW011', null, 'a parked task counts');

select throws_ok(
    $$ select underway._check_length('email', 2000000000, 2) $$, 'UW011',
    $$queue 'email' is full: 3 tasks pending, 2 more would exceed max_length 3$$,
    'each task counts once'
);

-- batches

update underway.queue q set max_length = 5 where q.name = 'email';

select throws_ok(
    $$ select underway.enqueue_many('email', '{6,7,8}') $$, 'UW011',
    $$queue 'email' is full: 3 tasks pending, 3 more would exceed max_length 5$$,
    'a batch that does not fit is refused as a whole'
);

select lives_ok($$ select underway.enqueue_many('email', '{6,7}') $$, 'a batch that fits is taken');

select lives_ok($$ select underway.enqueue_many('email', '{}') $$, 'an empty batch fits into a full queue');

update underway.queue q set max_length = 6 where q.name = 'email';

select lives_ok(
    $$ select underway.enqueue_many('email', '{1,2,3}', unique_keys => '{a,a,a}') $$,
    'inputs of one unique key count once'
);

select lives_ok(
    $$ select underway.enqueue('email', unique_key => 'a') $$, 'a key that is taken needs no room in a full queue'
);

select lives_ok(
    $$ select underway.enqueue('email', '7', unique_key => 'a', on_conflict => 'replace') $$, 'a replaced task needs no room in a full queue'
);

-- two lanes may be noted twice

insert into underway.queue_priority (queue, priority) values ('email', 0), ('email', 7);
update underway.queue q set max_length = 7 where q.name = 'email';

select lives_ok(
    $$ select underway.enqueue('email') $$, 'a priority that was recorded twice is counted once'
);

update underway.queue q set max_length = 0 where q.name = 'other';

select throws_ok($$ select underway.enqueue('other') $$, 'UW011', null, 'a max_length of 0 refuses every task');

select underway.cancel(t.id) from underway.task t where t.queue = 'other';

-- what is recorded

update underway.queue q set max_length = 1000 where q.name = 'other';
select underway.enqueue_many('other', array_fill('1'::jsonb, '{99}'));
select is_empty($$ select from underway.queue_length $$, 'the length of a short queue is not recorded');

select underway.enqueue('other');
select underway.enqueue('other');
select results_eq(
    $$ select c.queue::text collate "default", c.length from underway.queue_length c $$, $$ values ('other', 100::bigint) $$,
    'a length of 100 is recorded'
);

create temp table recorded as select * from underway.queue_length;
select underway.enqueue_many('other', array_fill('1'::jsonb, '{800}'));
select results_eq(
    $$ select * from underway.queue_length $$, $$ select * from recorded $$,
    'nothing is counted while the ids given out since leave room'
);

select underway.enqueue_many('email', '{}'), nextval('underway.task_id_seq') from generate_series(1, 1000);
select lives_ok(
    $$ select underway.enqueue_many('other', array_fill('1'::jsonb, '{99}')) $$,
    'ids that other queues were given do not make a queue full'
);

select results_eq(
    $$ select c.length from underway.queue_length c $$, $$ values (901::bigint) $$,
    'a count replaces the recorded length'
);

select throws_ok(
    $$ select underway.enqueue('other') $$, 'UW011',
    $$queue 'other' is full: 1000 tasks pending, 1 more would exceed max_length 1000$$,
    'a queue is full at its max_length, whatever was recorded'
);

select underway.cancel(t.id) from underway.task t where t.queue = 'other' limit 1;
select lives_ok($$ select underway.enqueue('other') $$, 'one task less makes room for one');

update underway.queue_length set next_id = 9000000000000000000, length = 0;
select throws_ok(
    $$ select underway.enqueue('other') $$, 'UW011', null,
    'a length recorded with ids of another database does not count'
);

select underway.drop_queue('other', force => true);
select is_empty($$ select from underway.queue_length $$, 'a queue that is dropped leaves no length behind');

select * from finish();
rollback;
