begin;
select plan(22);

-- within: the names of the tasks that a claim locks, in their order.
create function pg_temp.within(
    max_tasks integer default 100, priority integer default 0, queue text default 'email'
)
returns text language sql as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by l.number), '')
    from unnest((underway._claim_within_limits(within.queue, within.priority, within.max_tasks)).tasks)
        with ordinality as l (ctid, number)
    join underway.task t on t.ctid = l.ctid
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', max_running => 4);

-- ready tasks of one queue and priority

select underway_test.keyed_tasks('1 2 3 a1 4');
select underway_test.keyed_tasks('5', priority => 1);
select is(pg_temp.within(2), '1 2', 'at most so many tasks are locked');
select is(pg_temp.within(), '1 2 3 a1', 'tasks of one priority are locked up to the capacity of the queue');
select is(pg_temp.within(0), '', 'no task is locked for a claim of none');
select is(pg_temp.within(priority => 1), '5', 'tasks of another priority are locked for that priority');
select is(pg_temp.within(3, priority => null), '5 1 2', 'without a priority tasks of all are locked, the highest first');
select is(
    (underway._claim_within_limits('email', null, 2)).priorities, '{1,0}', 'the priority of each locked task is returned'
);
select is((select count(*) from underway.task t where t.state = 'in_progress'), 0::bigint, 'locked tasks do not run yet');

-- from the watermark on

update underway.task set ready_at = '2030-01-01 11:00:00+00' where input in ('"1"', '"2"');
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, '2030-01-01 11:30:00+00', '2030-01-01 11:30:00+00', '{}');
select is(pg_temp.within(2), '3 a1', 'tasks that were ready before the watermark are not read');
insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, '2030-01-01 11:00:00+00', '2030-01-01 11:30:00+00', '{}');
select is(pg_temp.within(1), '1', 'a task that has been ready since the watermark is locked');
delete from underway.watermark;
update underway.task set ready_at = '2030-01-01 12:00:00.000001+00' where input in ('"1"', '"2"');
select is(pg_temp.within(2), '3 a1', 'a task that is not due is not locked');

-- tasks that do not fit

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 b1 a3 1');
select is(pg_temp.within(), 'a1 b1 1', 'of each key as many tasks are locked as may start');
select is(underway_test.parked(), 'a2 a3', 'tasks whose key is full are parked');
select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 b1 c1 d1');
select is(pg_temp.within(4), 'a1 b1 c1 d1', 'a claim reads on in place of a task that does not fit');
select is(underway_test.parked(), '', 'a claim that is filled leaves a task ready whose key is full');
select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3 b1 c1');
select is(pg_temp.within(2), 'a1 b1', 'a claim of two tasks reads on, past several that do not fit');
select is(underway_test.parked(), 'a2 a3', 'a claim that is filled parks tasks when more than half as many as it takes do not fit');

-- tasks that have expired

select underway_test.no_tasks();
select underway_test.keyed_tasks((select string_agg(n::text, ' ') from generate_series(1, 100) n) || ' a1');
update underway.task set expires_at = '2030-01-01 12:00:00+00' where concurrency_key is null;
select is(pg_temp.within(1), 'a1', 'a claim of one task reads on, past many that have expired');

-- tokens

select underway_test.no_tasks();
select underway.create_queue('email', max_running => 0, rate_limit => 3, rate_limit_per_key => 1, rate_period => '1 hour');
select underway_test.keyed_tasks('a1 b1 1');
select underway_test.keyed_tasks('a2', priority => -1);
select is(pg_temp.within(2), 'a1 b1', 'tasks are locked while the queue and their key have tokens');
select results_eq(
    $$
        select b.concurrency_key collate "default", b.tokens from underway.token_bucket b order by 1
    $$,
    $$ values ('', 1::double precision), ('a', 0), ('b', 0) $$,
    'locked tasks take the tokens of their queue and of their keys'
);
update underway.task set state = 'waiting' where input in ('"a1"', '"b1"');
select is(pg_temp.within(), '1', 'a task without a key takes a token of the queue alone');

-- a queue that was dropped since the claim has read it

select is(
    (underway._claim_within_limits('nowhere', 0, 1)).tasks, null, 'no task of a queue that does not exist is locked'
);

-- a task was skipped in one page, and its key has a free slot when the next page is read

select underway.create_queue('order', max_running => 4);
select underway.enqueue('order', to_jsonb(name), concurrency_key => left(name, 1)) from unnest('{a1,a2,b1}'::text[]) name;
create temporary sequence look;
create or replace function underway._key_capacity(queue underway.queue, key text, taken bigint, now timestamptz)
returns setof integer
language sql
volatile
rows 1
as $$ select case when key = 'a' then nextval('pg_temp.look')::integer - 1 else 1 end $$;
select is(pg_temp.within(1, queue => 'order'), 'b1', 'no later task of its key starts before it');

select * from finish();
rollback;
