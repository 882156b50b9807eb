-- in a repeatable read transaction

begin isolation level repeatable read;
select plan(2);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.enqueue_many('email', '{1,2}', concurrency_key => 'a', delay => '1 hour');
select underway.enqueue_many('email', '{1,2}', concurrency_key => 'b');
select is((select array_agg(t.input order by t.id) from underway.task t where t.parked), '{2,2}', 'two tasks are parked');

select underway._unpark('{email,email}', '{a,b}', '{1,1}');
select is(
    (
        select string_agg(t.concurrency_key || ' ' || (t.ready_at at time zone 'UTC')::time, ', ' order by t.id)
        from underway.task t
        where t.input = '2' and not t.parked
    ),
    'a 13:00:00, b 12:00:00', 'a task that is not due is not made ready before its time'
);

select * from finish();
rollback;
