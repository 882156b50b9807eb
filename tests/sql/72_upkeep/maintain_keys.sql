-- about once a minute the chores forget which queues have concurrency keys

begin;
select plan(8);

-- after_a_while: the chores are done until the queue that has no keys is no longer recorded to have some.
create function pg_temp.after_a_while() returns text language plpgsql as $$
begin
    update underway.queue q set has_keys = true where q.name = 'empty';
    for v_number in 1..3000 loop
        perform underway._run_chores();
        exit when not (select q.has_keys from underway.queue q where q.name = 'empty');
    end loop;
    return (select string_agg(q.name, ' ' order by q.name) from underway.queue q where q.has_keys);
end;
$$;

select underway_test.stop_clock();
select underway.create_queue(name) from unnest('{empty,plain,ready,running,parked}'::text[]) as name;
select underway_test.keyed_tasks('1', 'plain'), underway_test.keyed_tasks('a1', 'ready'), underway_test.keyed_tasks('a2', 'running');
select underway_test.keyed_tasks('a3', 'parked');
select is(underway_test.claimed(1, 'running'), 'a2', 'a task with a concurrency key runs');
update underway.task t set parked = true where t.queue = 'parked';
select underway.pause_key('parked', 'a');
update underway.queue q set has_keys = true where q.name in ('plain', 'running');

select is(
    pg_temp.after_a_while(), 'parked ready running', 'queues with ready, running or parked tasks of a key stay recorded, and no others do'
);

-- nothing is lost by it

select underway_test.done('a2');
select is(pg_temp.after_a_while(), 'parked ready', 'a queue whose last task of a key has finished is forgotten');
select underway_test.keyed_tasks('a4 a5', 'running');
select is(underway_test.claimed(10, 'running'), 'a4', 'a new task of a key is claimed within the limit of its key');

-- keys of parked tasks: 500 in each run

select underway.create_queue('many');
select underway_test.keyed_tasks('k1', 'many');
insert into underway.task (queue, priority, ready_at, enqueued_at, concurrency_key, parked, input)
select 'many', 0, underway._clock(), underway._clock(), to_char(number, 'FM0000'), true, to_jsonb('many' || number)
from generate_series(1, 501) number;
insert into underway.paused_key (queue, concurrency_key, paused_at)
select 'many', to_char(number, 'FM0000'), underway._clock() from generate_series(1, 500) number;
update underway.upkeep set queue = '', key = '';
select underway._run_chores();
select is(underway_test.named('many501') is not null and underway_test.ready() not like '%many%', true, 'a run checks 500 keys of parked tasks');
select underway._run_chores();
select matches(underway_test.ready(), 'many501', 'the next run checks the keys behind them');
delete from underway.task where queue = 'many';

-- each of the other chores is tested with its own function; a run does them all

select underway.create_queue('sms');
insert into underway.task (queue, priority, ready_at, enqueued_at, concurrency_key, parked, input)
values ('dropped', 0, underway._clock(), underway._clock(), null, false, '"late"');
delete from underway.paused_key;
select pg_temp.after_a_while();
select is(underway_test.named('late'), null, 'a task of a dropped queue is cancelled');
select is(underway_test.ready(), '1 a1 a3', 'the parked task of a free key is ready');

select * from finish();
rollback;
