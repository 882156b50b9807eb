begin;
select plan(24);

-- turns: the names of the tasks that are locked, of a page of all ready tasks.
create function pg_temp.turns(max_tasks integer, taken text default '') returns text language plpgsql as $$
declare
    v_now      timestamptz := underway._clock();
    v_page     underway.claim_candidate[] := coalesce(array(
        select row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate
        from underway.task t
        where t.queue = 'email' and t.state = 'pending' and not t.parked and t.ready_at <= v_now
        order by t.ready_at, t.id
    ), '{}');
    v_taken    underway.claim_candidate[] := coalesce(underway_test.candidates(turns.taken), '{}');
    v_capacity integer[];
begin
    v_capacity := array(
        select c.tasks
        from unnest(v_page) with ordinality as p (ctid, key, ready_at, id, number)
        left join lateral underway._key_capacity(
            underway_test.queue(), p.key, (select count(*) from unnest(v_taken) t where t.key = p.key), v_now
        ) c (tasks) on p.key is not null
        order by p.number
    );

    return (
        select coalesce(string_agg(t.input #>> '{}', ' ' order by l.number), '')
        from unnest(underway._take_turns(
            underway_test.queue(), 0, v_page, v_capacity, v_taken, turns.max_tasks, v_now
        )) with ordinality as l (ctid, key, ready_at, id, number)
        join underway.task t on t.id = l.id
    );
end;
$$;

create function pg_temp.reset(names text, max_running_per_key integer) returns void language sql as $$
    select underway_test.no_tasks();
    select underway.create_queue('email', fair => true, max_running_per_key => reset.max_running_per_key);
    select underway_test.keyed_tasks(reset.names);
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');

-- one task

select pg_temp.reset('a1 a2 a3 b1 c1 c2', 5);
select is(pg_temp.turns(1), 'a1', 'a single turn goes to the oldest task of the first key');
select is(underway_test.ready(), 'a1 a2 b1 c1', 'the locked task, and of each key the next one, stay ready');
select is(underway_test.parked(), 'a3 c2', 'the other tasks of each key in the page are parked');
select results_eq(
    $$ select t.input #>> '{}', t.ready_at from underway.task t where not t.parked and t.concurrency_key = 'a' order by 1 $$,
    $$ values ('a1', '2030-01-01 12:00:00+00'::timestamptz), ('a2', '2030-01-01 12:00:00.000001+00') $$,
    'the next task of the key that was served goes to the back of the line'
);
select is(
    (select t.ready_at from underway.task t where t.input = '"a3"'), '2030-01-01 12:00:00+00',
    'a parked task keeps its place among the tasks of its key'
);

-- several tasks

select pg_temp.reset('a1 a2 a3 b1 c1 c2', 5);
select is(pg_temp.turns(3), 'a1 b1 c1', 'three turns go to the oldest tasks of three keys');
select is(underway_test.parked(), 'a3', 'of each key one task is next in line after its turn, and the others are parked');
select pg_temp.reset('a1 a2 a3 a4 a5 b1 c1 c2', 5);
select is(pg_temp.turns(6), 'a1 b1 c1 a2 c2 a3', 'turns beyond the number of keys go round the keys again');
select is(underway_test.parked(), 'a5', 'after several rounds one task of a key is next in line');
select pg_temp.reset('a1 b1', 5);
select is(pg_temp.turns(10), 'a1 b1', 'no more tasks are locked than there are');
select is(pg_temp.turns(0), '', 'no task is locked for no turns');

-- an order that is not that of the line

select pg_temp.reset('a1 a2 a3 b1', 5);
update underway.task set parked = true where input in ('"a1"', '"a3"');
select is(pg_temp.turns(1), 'a1', 'the turn of a key goes to its oldest task, though that is parked');
select results_eq(
    $$ select t.input #>> '{}', t.ready_at from underway.task t where not t.parked order by t.id $$,
    $$ values ('a2', '2030-01-01 12:00:00.000001+00'::timestamptz), ('b1', '2030-01-01 12:00:00+00') $$,
    'the ready task of a key that was served through a parked one goes to the back of the line'
);
select pg_temp.reset('a1 a2 a3', 5);
update underway.task set parked = true where input in ('"a1"', '"a3"');
select is(pg_temp.turns(1, taken => 'a1'), 'a2', 'a parked task that the claim has taken before gets no second turn');
select is(underway_test.parked(), 'a1', 'a parked task that the claim has taken before is not the next in line');

-- capacity

select pg_temp.reset('a1 a2 a3 b1', 2);
select is(pg_temp.turns(4), 'a1 b1 a2', 'a key gets no more turns than it has capacity');
select is(underway_test.parked(), 'a3', 'the next task of a key that is full after its turns is parked');
select pg_temp.reset('a1 a2 a3 b1', 2);
select is(pg_temp.turns(4, taken => 'a1'), 'a1 b1', 'tasks that the claim has taken before count against the capacity of a key');

-- tasks without a key

select pg_temp.reset('1 a1 a2 2 3', 1);
select is(pg_temp.turns(3), '1 a1 2', 'each task without a key stands for itself');
select is(underway_test.ready(), '1 a1 2 3', 'tasks without a key are not parked');
select is(underway_test.parked(), 'a2', 'the next task of a full key is parked');

-- an empty page

select underway_test.no_tasks();
select is(pg_temp.turns(5), '', 'no task is locked of an empty page');

-- a task that is parked and not due

select pg_temp.reset('a1 a2', 5);
update underway.task set parked = true, ready_at = '2030-01-01 13:00:00+00' where input = '"a2"';
select is(pg_temp.turns(2), 'a1', 'a parked task that is not due gets no turn');
select is(
    (select t.ready_at from underway.task t where t.input = '"a2"' and not t.parked), '2030-01-01 13:00:00+00',
    'a task that is not due becomes the next of its key at its own time'
);

select * from finish();
rollback;
