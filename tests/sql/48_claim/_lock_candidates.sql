begin;
select plan(11);

-- locked: the names of those of these tasks that can be locked as they were read.
create function pg_temp.locked(tasks underway.claim_candidate[]) returns text language sql as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by l.number), '')
    from unnest(underway._lock_candidates(locked.tasks, 100, underway._clock())) with ordinality as l (ctid, key, ready_at, id, number)
    join underway.task t on t.id = l.id
$$;

select underway_test.stop_clock();
select underway.create_queue('email');
select underway_test.keyed_tasks('a1 b1 1 a2 2 3');
create temporary table seen on commit drop as select underway_test.candidates('a1 b1 1 a2 2 3') as tasks;

select is(pg_temp.locked('{}'), '', 'no tasks are locked where none are given');
select is(pg_temp.locked(tasks), 'a1 b1 1 a2 2 3', 'tasks that are as they were read are locked') from seen;
select is(
    pg_temp.locked(array(select t from unnest(tasks) t order by t.id desc)), '3 2 a2 1 b1 a1', 'tasks are locked in the given order'
)
from seen;
select results_eq(
    'select l.* from seen, unnest(underway._lock_candidates(tasks, 100, underway._clock())) l', 'select t.* from seen, unnest(tasks) t',
    'locked tasks are returned as they were given'
);

select is(
    (select string_agg(l.id::text, ' ') from unnest(underway._lock_candidates(tasks, 2, underway._clock())) l),
    (select string_agg(t.id::text, ' ') from (select * from unnest(tasks) limit 2) t), 'at most max_tasks tasks are locked'
)
from seen;

-- tasks that have changed

update underway.task set state = 'waiting' where input = '"a1"';
update underway.task set ready_at = ready_at + interval '1 hour' where input = '"1"';
update underway.task set concurrency_key = 'c' where input = '"b1"';
update underway.task set concurrency_key = 'c' where input = '"2"';
update underway.task set concurrency_key = null where input = '"a2"';
create temporary table now on commit drop as
select array_agg(row(t.ctid, s.key, s.ready_at, s.id)::underway.claim_candidate order by s.id) as tasks
from seen, unnest(seen.tasks) s
join underway.task t on t.id = s.id;

select is(
    pg_temp.locked(tasks), '3', 'a task that is not pending, was put off or has another concurrency key is not locked'
)
from now;
select is(pg_temp.locked(tasks), '3', 'a ctid that holds an old version of its task is not locked') from seen;

update underway.task set ready_at = ready_at - interval '1 hour' where input = '"3"';
select is(
    pg_temp.locked(array[row(t.ctid, null, t.ready_at + interval '1 hour', t.id)::underway.claim_candidate]), '3',
    'a task that is ready earlier than it was read is locked'
)
from underway.task t
where t.input = '"3"';
select is(
    pg_temp.locked(array[row(t.ctid, null, t.ready_at, t.id + 1)::underway.claim_candidate]), '',
    'a ctid that holds another task is not locked'
)
from underway.task t
where t.input = '"3"';
update underway.task set state = 'waiting' where input = '"3"';
select is(pg_temp.locked(tasks), '', 'no tasks are locked where all have changed') from now;

-- expired

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2');
update underway.task t set expires_at = underway._clock() where t.input = '"1"';
select is(pg_temp.locked(underway_test.candidates('1 2')), '2', 'a task that has expired is not locked');

select * from finish();
rollback;
