begin;
select plan(3);

select underway.create_queue('email');
select underway.enqueue_many('email', '{1,2,3}');

select is(
    (select string_agg(c.input::text, ' ') from underway.dequeue('email', 2, 7) c), '1 2',
    'dequeue of one queue claims at most max_tasks tasks in their order'
);
select is((select count(*) from underway.task t where t.worker = 7), 2::bigint, 'dequeue of one queue records the worker');
select throws_ok(
    $$ select underway.dequeue('nothing') $$, 'UW003', 'queue ''nothing'' does not exist',
    'dequeue of a queue that does not exist is refused'
);

select * from finish();
rollback;
