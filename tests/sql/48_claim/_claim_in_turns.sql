begin;
select plan(9);

-- turns: the names of the tasks that a claim from a fair queue locks, in their order.
create function pg_temp.turns(max_tasks integer default 100, priority integer default 0) returns text language sql as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by l.number), '')
    from unnest((
        underway._claim_in_turns(underway_test.queue(), turns.priority, turns.max_tasks, underway._clock())
    ).tasks) with ordinality as l (ctid, number)
    join underway.task t on t.ctid = l.ctid
$$;

select underway_test.stop_clock();
select underway.create_queue('email', fair => true);
select is(pg_temp.turns(), '', 'nothing is locked in a queue without tasks');

select underway_test.keyed_tasks('a1 a2 b1 1');
select underway_test.keyed_tasks('c1', priority => 1);
select is(pg_temp.turns(2), 'a1 b1', 'at most so many tasks are locked, of each key one');
select is(underway_test.parked(), 'a2', 'the next task of a key that was served is parked while the key is full');
select is(pg_temp.turns(priority => 1), 'c1', 'tasks of another priority are locked for that priority');
select is(
    (underway._claim_in_turns(underway_test.queue(), 1, 100, underway._clock())).priorities, '{1}',
    'the priority of each locked task is returned'
);

-- tasks that have expired

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2');
update underway.task t set expires_at = underway._clock() where t.input = '"1"';
select is(pg_temp.turns(), '2', 'a task that has expired is not locked');
select is((select count(*) from underway.task), 1::bigint, 'a task that has expired is cancelled');

-- tokens

select underway_test.no_tasks();
select underway.create_queue('email', rate_limit => 3, rate_limit_per_key => 1, rate_period => '1 hour');
select underway_test.keyed_tasks('a1 a2 b1');
select is(pg_temp.turns(), 'a1 b1', 'of each key as many tasks are locked as it has tokens');
select results_eq(
    'select b.concurrency_key collate "default", b.tokens from underway.token_bucket b order by 1',
    $$ values ('', 1::double precision), ('a', 0), ('b', 0) $$,
    'locked tasks take the tokens of their queue and of their keys'
);

select * from finish();
rollback;
