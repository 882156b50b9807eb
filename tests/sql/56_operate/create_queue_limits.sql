-- the limits of a queue

begin;
select plan(28);

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
    'a new queue has no limits, and of each key one task runs'
);
select is_empty('select from woken', 'nobody is woken for it');

-- what is given is stored

select underway.create_queue(
    'email', max_running => 10, max_running_per_key => 2, rate_limit => 100, rate_period => '1 minute',
    max_length => 1000
);
create temporary table given on commit drop as select * from setting;
select results_eq(
    'select * from given', $$ values (10, 2, 100, '1 minute'::interval, 1000) $$, 'limits that are given are stored'
);

-- what is left out is kept

select underway.create_queue('email');
select results_eq('select * from setting', 'select * from given', 'creating a queue again keeps its limits');
select underway.create_queue('email', timeout => '1 minute');
select results_eq('select * from setting', 'select * from given', 'a change of another setting does, too');
select underway.create_queue('email', max_running => 11);
update given set max_running = 11;
select results_eq('select * from setting', 'select * from given', 'how many may run alone is changed');
select underway.create_queue('email', max_running_per_key => 3);
update given set max_running_per_key = 3;
select results_eq('select * from setting', 'select * from given', 'how many of a key may run alone is changed');
select underway.create_queue('email', rate_limit => 101);
update given set rate_limit = 101;
select results_eq('select * from setting', 'select * from given', 'the rate alone is changed');
select underway.create_queue('email', rate_period => '1 hour');
update given set rate_period = '1 hour';
select results_eq('select * from setting', 'select * from given', 'its period alone is changed');
select underway.create_queue('email', max_length => 1001);
update given set max_length = 1001;
select results_eq('select * from setting', 'select * from given', 'the length alone is changed');

-- 0 takes a limit away

select underway.create_queue('email', max_running => 0);
update given set max_running = null;
select results_eq('select * from setting', 'select * from given', 'with 0 any number may run again');
select underway.create_queue('email', rate_limit => 0);
update given set rate_limit = null;
select results_eq('select * from setting', 'select * from given', 'at any rate');
select underway.create_queue('email', max_length => 0);
update given set max_length = null;
select results_eq('select * from setting', 'select * from given', 'and wait');
select underway.create_queue('email');
select results_eq('select * from setting', 'select * from given', 'which stays so');

select underway.create_queue('bare', max_running => 0, rate_limit => 0, max_length => 0);
select results_eq(
    $$ select max_running, rate_limit, max_length from underway.queue where name = 'bare' $$,
    $$ values (null::integer, null::integer, null::integer) $$,
    'a new queue may say so, too'
);

-- who is told

select is(
    (select array_agg(distinct w.queue) from woken w where w.queue <> 'bare'), '{email}',
    'workers of the queue are woken'
);
truncate woken;
select underway.create_queue('email', max_length => 5, retention => '1 day');
select underway.create_queue('email', max_running => 7);
select underway.create_queue('email', max_running_per_key => 7);
select underway.create_queue('email', rate_limit => 7);
select underway.create_queue('email', rate_limit_per_key => 7);
select underway.create_queue('email', rate_period => '1 minute');
select is(
    (select count(*) from woken), 5::bigint, 'for each limit that may let more run, and for no other setting'
);

-- what runs already

select underway.create_queue('sms');
select underway_test.keyed_tasks('1 2 3 4 5', 'sms');
delete from underway.keyed_queue;
select underway_test.ready_task('letter');
select underway.dequeue('letter');
select underway_test.claimed(2, 'sms');
select is((select count(*) from underway.task where limited), 0::bigint, 'what runs without limits is not counted');
select underway.create_queue('sms', max_running => 3);
select is(
    (select string_agg(t.input #>> '{}', ' ' order by t.id) from underway.task t where t.limited), '1 2',
    'when a queue gets a limit, what runs in it is, and nothing else'
);
select is(underway_test.claimed(100, 'sms'), '3', 'so no more is claimed than may run');

-- what is parked

select underway.create_queue('sms', max_running => 0);
select underway_test.keyed_tasks('a1 a2 a3 b1 b2', 'sms');
select underway_test.claimed(100, 'sms');
select is(underway_test.freed('sms'), '', 'while keys are taken, nothing is noted');
select underway.create_queue('sms', max_running_per_key => 2);
select is(
    underway_test.freed('sms'), 'a b', 'when more of a key may run, those of which something is parked are noted'
);
select is(underway_test.freed(), '', 'and none of other queues');
select is(underway_test.claimed(100, 'sms'), 'a2 b2', 'so more is claimed');
select underway.create_queue('sms', max_running_per_key => 1);
select is(underway_test.claimed(100, 'sms'), '', 'with a lower limit nothing is');
select is(underway_test.freed('sms'), '', 'and the keys are forgotten again');
select underway_test.done('a1 b1');
select is(underway_test.claimed(100, 'sms'), '', 'while as many run as may');
select underway_test.done('a2');
select is(underway_test.claimed(100, 'sms'), 'a3', 'until they do not');

select * from finish();
rollback;
