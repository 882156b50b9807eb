begin;
select plan(19);

-- the transactions that have read the table queue, as the test wants them
create temporary table reader (id text) on commit drop;
create or replace function underway._queue_readers()
returns text[]
language sql
volatile
as 'select array(select r.id from pg_temp.reader r)';

create function pg_temp.left_behind(queue text)
returns bigint
language sql
as $$
    select
        (select count(*) from underway.queue_priority p where p.queue = left_behind.queue)
        + (select count(*) from underway.watermark w where w.queue = left_behind.queue)
        + (select count(*) from underway.unique_reservation r where r.queue = left_behind.queue)
        + (select count(*) from underway.ready_key k where k.queue = left_behind.queue)
        + (select count(*) from underway.paused_key k where k.queue = left_behind.queue)
        + (select count(*) from underway.token_bucket b where b.queue = left_behind.queue)
        + (select count(*) from underway.dropped_queue d where d.name = left_behind.queue)
$$;

select is(underway._finish_drops(), 0, 'without a dropped queue nothing is done');

-- no enqueue is under way

select underway_test.ready_task('email'), underway_test.ready_task('sms');
select underway.enqueue('email', priority => 5);
create temporary table other on commit drop as select pg_temp.left_behind('sms') as rows;
select underway.drop_queue('email', force => true);

select is(underway._finish_drops(), 0, 'the first call after the drop only records the open transactions');
select cmp_ok(pg_temp.left_behind('email'), '>', 1::bigint, 'the priorities of the queue stay until the next call');
select is(underway._finish_drops(), 1, 'the next call finishes the drop');
select is(pg_temp.left_behind('email'), 0::bigint, 'no row of the queue is left');
select is(pg_temp.left_behind('sms'), other.rows, 'the rows of other queues stay') from other;
select is(underway._finish_drops(), 0, 'a drop is finished once');

-- a transaction that had read the queue is open

select underway_test.ready_task('email');
select underway.drop_queue('email', force => true);
insert into reader values ('7/1'), ('8/2');
select underway._finish_drops();
delete from reader where id = '8/2';
insert into reader values ('9/3');
select is(underway._finish_drops(), 0, 'a drop is not finished while a recorded transaction is open');
select cmp_ok(pg_temp.left_behind('email'), '>', 1::bigint, 'an enqueue that is under way keeps the priorities');

insert into underway.task (queue, input, priority, ready_at, enqueued_at)
values ('email', '"late"', 0, underway._clock(), underway._clock());
create temporary table late on commit drop as select t.id from underway.task t where t.queue = 'email';
delete from reader where id = '7/1';
select is(underway._finish_drops(), 1, 'it is finished when the recorded transactions have ended, whatever began later');
select is(underway_test.state_of(late.id), 'cancelled', 'a task that was enqueued during the drop is cancelled') from late;
select is(pg_temp.left_behind('email'), 0::bigint, 'no row of the queue is left after it');

-- a prepared transaction

delete from reader;
select underway_test.ready_task('email');
select underway.drop_queue('email', force => true);
select underway._finish_drops();
insert into reader values ('-1/815');
select is(underway._finish_drops(), 0, 'a drop is not finished while a prepared transaction has read the queues');
delete from reader;
select is(underway._finish_drops(), 1, 'it is finished when the prepared transaction has ended');

-- the queue was created again

select underway_test.ready_task('email');
select underway.drop_queue('email', force => true);
select underway._finish_drops();
select underway.create_queue('email');
create temporary table again on commit drop as select underway.enqueue('email') as id;
select is(underway._finish_drops(), 1, 'the drop of a queue that was created again is finished');
select is(underway_test.state_of(again.id), 'pending', 'the tasks of the new queue stay') from again;
select is((select count(*) from underway.dequeue('email')), 1::bigint, 'the tasks of the new queue can be claimed');

-- dropped twice

select underway.drop_queue('email', force => true);
select underway._finish_drops();
select underway.create_queue('email');
select underway.drop_queue('email');
select is(underway._finish_drops(), 0, 'after another drop the open transactions are recorded again');
select is(underway._finish_drops(), 1, 'the second drop is finished');

select * from finish();
rollback;
