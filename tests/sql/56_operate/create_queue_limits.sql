-- the limits of a queue

begin;
select plan(29);

create temporary view setting as
select max_running, max_running_per_key, rate_limit, rate_period, max_length
from underway.queue where name = 'email';

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

select underway_test.stop_clock();
select underway.create_queue('email');

select results_eq(
    'select * from setting', $$ values (null::integer, 1, null::integer, '1 second'::interval, null::integer) $$,
    'a new queue has no limits but one running task for each key'
);
select is_empty('select from woken', 'no worker is woken for a new queue without limits');

-- given limits

select underway.create_queue(
    'email', max_running => 10, max_running_per_key => 2, rate_limit => 100, rate_period => '1 minute',
    max_length => 1000
);
create temporary table given on commit drop as select * from setting;
select results_eq(
    'select * from given', $$ values (10, 2, 100, '1 minute'::interval, 1000) $$, 'given limits are stored'
);

-- limits that are left out

select underway.create_queue('email');
select results_eq('select * from setting', 'select * from given', 'creating a queue again keeps its limits');
select underway.create_queue('email', timeout => '1 minute');
select results_eq('select * from setting', 'select * from given', 'a change of another setting keeps the limits');
select underway.create_queue('email', max_running => 11);
update given set max_running = 11;
select results_eq('select * from setting', 'select * from given', 'max_running alone is changed');
select underway.create_queue('email', max_running_per_key => 3);
update given set max_running_per_key = 3;
select results_eq('select * from setting', 'select * from given', 'max_running_per_key alone is changed');
select underway.create_queue('email', rate_limit => 101);
update given set rate_limit = 101;
select results_eq('select * from setting', 'select * from given', 'rate_limit alone is changed');
select underway.create_queue('email', rate_period => '1 hour');
update given set rate_period = '1 hour';
select results_eq('select * from setting', 'select * from given', 'rate_period alone is changed');
select underway.create_queue('email', max_length => 1001);
update given set max_length = 1001;
select results_eq('select * from setting', 'select * from given', 'max_length alone is changed');

-- 0 removes a limit

select underway.create_queue('email', max_running => 0);
update given set max_running = null;
select results_eq('select * from setting', 'select * from given', 'a max_running of 0 removes the limit');
select underway.create_queue('email', rate_limit => 0);
update given set rate_limit = null;
select results_eq('select * from setting', 'select * from given', 'a rate_limit of 0 removes the limit');
select underway.create_queue('email', max_length => 0);
update given set max_length = null;
select results_eq('select * from setting', 'select * from given', 'a max_length of 0 removes the limit');
select underway.create_queue('email');
select results_eq('select * from setting', 'select * from given', 'a removed limit stays removed');

select underway.create_queue('bare', max_running => 0, rate_limit => 0, max_length => 0);
select results_eq(
    $$ select max_running, rate_limit, max_length from underway.queue where name = 'bare' $$,
    $$ values (null::integer, null::integer, null::integer) $$,
    'a new queue with limits of 0 has no limits'
);

-- workers are woken

select is(
    (select array_agg(distinct w.queue) from woken w where w.queue <> 'bare'), '{email}',
    'the workers of a queue are woken when its limits change'
);
truncate woken;
select underway.create_queue('email', max_length => 5, retention => '1 day');
select underway.create_queue('email', max_running => 7);
select underway.create_queue('email', max_running_per_key => 7);
select underway.create_queue('email', rate_limit => 7);
select underway.create_queue('email', rate_limit_per_key => 7);
select underway.create_queue('email', rate_period => '1 minute');
select is(
    (select count(*) from woken), 5::bigint, 'workers are woken for each limit that may let more tasks run, and for no other setting'
);

-- the claim lock

create function pg_temp.locked(queue text) returns boolean language sql as $$
    select exists (
        select
        from pg_locks l
        where l.locktype = 'advisory'
          and l.pid = pg_backend_pid()
          and l.mode = 'ExclusiveLock'
          and (l.classid::bigint << 32 | l.objid::bigint) = underway._claim_lock(locked.queue)
    )
$$;

select underway.create_queue('fax', timeout => '1 minute', rate_limit => 5, max_length => 5);
select is(pg_temp.locked('fax'), false, 'settings that claims may read late change without the claim lock of the queue');
select underway.create_queue('fax', max_running => 5);
select is(pg_temp.locked('fax'), true, 'a limit on running tasks changes while no claim from the queue is under way');

-- tasks that run already

select underway.create_queue('sms');
select underway_test.keyed_tasks('1 2 3 4 5', 'sms');
select underway_test.ready_task('letter');
select underway.dequeue('letter');
select underway_test.claimed(2, 'sms');
select is(
    (select count(*) from underway.task where holds_slot), 0::bigint, 'running tasks of a queue without max_running hold no slots'
);
select underway.create_queue('sms', max_running => 3);
select is(
    (select string_agg(t.input #>> '{}', ' ' order by t.id) from underway.task t where t.holds_slot), '1 2',
    'the running tasks of a queue that gets a max_running hold slots, and no other tasks do'
);
select is(underway_test.claimed(100, 'sms'), '3', 'a claim counts the tasks that ran before their queue got its max_running');

-- parked tasks

select underway.create_queue('sms', max_running => 0);
select underway_test.keyed_tasks('a1 a2 a3 b1 b2', 'sms');
select underway_test.claimed(100, 'sms');
select is(underway_test.parked(), 'a2 a3 b2', 'tasks of full keys are parked');
select underway.create_queue('sms', max_running_per_key => 2);
select is(underway_test.ready(), 'a2 b2', 'a higher max_running_per_key makes as many parked tasks of each key ready as may run');
select is(underway_test.parked(), 'a3', 'the other parked tasks of a key stay parked');
select is(underway_test.claimed(100, 'sms'), 'a2 b2', 'as many tasks of each key are claimed as a higher max_running_per_key allows');
select underway.create_queue('sms', max_running_per_key => 1);
select is(underway_test.claimed(100, 'sms'), '', 'nothing is claimed while more tasks of a key run than a lower max_running_per_key');
select underway_test.done('a1 b1');
select is(underway_test.claimed(100, 'sms'), '', 'nothing is claimed while as many tasks of a key run as a lower max_running_per_key');
select underway_test.done('a2');
select is(underway_test.claimed(100, 'sms'), 'a3', 'the next task is claimed when fewer tasks of a key run than a lower max_running_per_key');

select * from finish();
rollback;
