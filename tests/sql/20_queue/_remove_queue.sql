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
    'only the given queue is removed'
);

select set_eq(
    'select queue collate "default", priority from underway.queue_priority',
    $$ values ('email', 0), ('invoice', 0), ('dead', 0), ('dead', 5) $$,
    'the priorities of the removed queue stay'
);

select is_empty(
    'select from underway.queue where dead_letter_queue is not null',
    'a queue that had it as dead-letter queue has none afterwards'
);

select is(
    (select count(*) from underway.task where queue = 'dead'), 1::bigint,
    'the tasks of the removed queue stay'
);

select lives_ok(
    $$ select underway._remove_queue('dead') $$,
    'a queue that does not exist is ignored'
);

select * from finish();
rollback;
