begin;
select plan(5);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
select underway.create_queue('invoice', dead_letter_queue => 'dead');
select underway.enqueue('dead', priority => 5);

select underway._remove_queue('dead');

select set_eq(
    'select name::text from underway.queue',
    $$ values ('email'), ('invoice') $$,
    'the queue is gone, the others stay'
);

select set_eq(
    'select queue collate "default", priority from underway.queue_priority',
    $$ values ('email', 0), ('invoice', 0), ('dead', 0), ('dead', 5) $$,
    'its priorities stay known, for a task that is being enqueued just now'
);

select is_empty(
    'select from underway.queue where dead_letter_queue is not null',
    'who had it for dead letters has no dead-letter queue any more'
);

select is(
    (select count(*) from underway.task where queue = 'dead'), 1::bigint,
    'its tasks are left to the caller'
);

select lives_ok(
    $$ select underway._remove_queue('dead') $$,
    'a queue that is not there is passed over'
);

select * from finish();
rollback;
