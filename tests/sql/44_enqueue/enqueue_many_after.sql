begin;
select plan(17);

select underway.create_queue('work');
select underway.create_queue('email');
create temporary table first as select (underway.enqueue_many('work', '{1,2,3}')) as ids;

create function pg_temp.done(count integer) returns void language sql as $$
    select underway.complete(d.id, d.lease) from underway.dequeue('work', done.count) d
$$;

-- several at once

create temporary table bulk as select underway.enqueue_many('email', '{1,2,3,4}', after => ids) as ids from first;
select set_eq('select state::text from underway.task where queue = ''email''', '{waiting}'::text[], 'all tasks of the call wait');
select is((select count(*) from underway.batch), 1::bigint, 'all tasks of the call wait for one batch');
select pg_temp.done(2);
select set_eq('select state::text from underway.task where queue = ''email''', '{waiting}'::text[], 'they wait until the last dependency has succeeded');
select pg_temp.done(1);
select results_eq(
    'select id, input from underway.dequeue(''email'', 10)', 'select u.id, to_jsonb(u.n) from bulk, unnest(ids) with ordinality as u (id, n)',
    'afterwards they run in the order of the inputs'
);
select is(underway.enqueue_many('email', '{}', after => ids), '{}', 'no inputs are no tasks') from first;

-- priorities

create temporary table next as select underway.enqueue('work') as id;
create temporary table low as select underway.enqueue('email', after => array[id]) as id from next;
create temporary table high as select underway.enqueue('email', priority => 1, after => array[next.id]) as id from next;
create temporary table meanwhile as select underway.enqueue('email') as id;
select pg_temp.done(1);
select results_eq(
    'select id from underway.dequeue(''email'', 10)',
    'select id from high union all select id from meanwhile union all select id from low',
    'a higher priority comes first; within a priority, the task that became ready first'
);

-- concurrency keys and limits

create temporary table keyed_after as select underway.enqueue('work') as id;
create temporary table keyed as
select underway.enqueue_many('email', '{1,2}', concurrency_key => 'k', after => array[id]) as ids from keyed_after;
create temporary table other as select underway.enqueue('email', concurrency_key => 'k') as id;
select results_eq('select id from underway.dequeue(''email'', 10)', 'select id from other', 'a waiting task does not occupy its concurrency key');
select pg_temp.done(1);
select is_empty('select from underway.dequeue(''email'', 10)', 'once pending, it waits for its concurrency key');
select underway.complete(t.id, t.lease) from underway.task t, other where t.id = other.id;
select results_eq('select id from underway.dequeue(''email'', 10)', 'select ids[1] from keyed', 'it runs when its concurrency key is free');

select underway.create_queue('narrow', max_running => 1);
create temporary table narrow_after as select underway.enqueue('work') as id;
create temporary table narrow as select underway.enqueue_many('narrow', '{1,2}', after => array[id]) as ids from narrow_after;
select pg_temp.done(1);
select results_eq('select id from underway.dequeue(''narrow'', 10)', 'select ids[1] from narrow', 'max_running of the queue holds for tasks that have waited');

-- how long a queue may be

select underway.create_queue('short', max_length => 2);
select underway.enqueue_many('short', '{1,2}');
select throws_ok(
    format($$ select underway.enqueue('short', after => array[%s]) $$, underway.enqueue('work')), 'UW011', null,
    'a full queue refuses a task with after'
);
select is_empty('select from underway.task t join underway.dependent f on f.task = t.id where t.queue = ''short''', 'the refused task leaves no dependency behind');

-- objects, each with its own

create temporary table object as
select underway.enqueue_many(jsonb_build_array(
    jsonb_build_object('queue', 'email', 'input', 'a', 'after', jsonb_build_array(w.id)),
    jsonb_build_object('queue', 'email', 'input', 'b', 'after', jsonb_build_array(w.id)),
    jsonb_build_object('queue', 'email', 'input', 'c', 'after', jsonb_build_array(w.id), 'after_failure', 'fail'),
    jsonb_build_object('queue', 'email', 'input', 'd', 'after', '[]'::jsonb),
    jsonb_build_object('queue', 'email', 'input', 'e', 'after', null, 'after_failure', null)
)) as ids, w.id as work
from (select underway.enqueue('work') as id) w;
select results_eq(
    'select t.input #>> ''{}'', t.state::text from underway.task t, object where t.id = any (ids) order by t.id',
    $$ values ('a', 'waiting'), ('b', 'waiting'), ('c', 'waiting'), ('d', 'pending'), ('e', 'pending') $$,
    'each object has its own after'
);
select is(
    (select array_agg(t.input #>> '{}' order by u.place) from object, unnest(ids) with ordinality as u (id, place) join underway.task t on t.id = u.id),
    '{a,b,c,d,e}', 'their ids come in the order of the objects'
);
select underway.cancel(work) from object;
select is(
    (select array_agg(underway_test.state_of(u.id) order by u.place) from object, unnest(ids) with ordinality as u (id, place)),
    '{waiting,waiting,failed,pending,pending}', 'each object has its own after_failure'
);
select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email"}, {"queue": "email", "after": 7}]'::jsonb) $$, 'UW001',
    'task 2 has an after that is a JSON number', 'an after that is not an array is refused with the number of its object'
);
select throws_ok(
    $$ select underway.enqueue_many('[{"queue": "email", "after": [987654321]}]'::jsonb) $$, 'UW004',
    'task 987654321 does not exist', 'an after that does not exist is refused'
);

select * from finish();
rollback;
