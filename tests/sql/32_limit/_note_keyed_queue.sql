-- queues with concurrency keys are known

begin;
select plan(4);

select underway.create_queue('email');
select underway.create_queue('sms');

select underway.enqueue('email');
select underway.enqueue('email', unique_key => 'a');

select is_empty($$ select from underway.keyed_queue $$, 'a queue without concurrency keys is not noted');

select underway.enqueue('email', concurrency_key => 'a');
select underway.enqueue('email', concurrency_key => 'b');
select underway.enqueue('email', concurrency_key => 'b', unique_key => 'b');

select results_eq(
    $$ select k.queue::text collate "default" from underway.keyed_queue k $$, array['email'],
    'the first task with a concurrency key notes its queue, and no other does'
);

select underway.enqueue('sms', concurrency_key => 'a', unique_key => 'a');

select is(
    (select count(*) from underway.keyed_queue k where k.queue = 'sms'), 1::bigint,
    'a task with both keys notes its queue too'
);

select underway._note_keyed_queue('sms');

select is(
    (select count(*) from underway.keyed_queue k where k.queue = 'sms'), 1::bigint, 'a queue that is known is left alone'
);

select * from finish();
rollback;
