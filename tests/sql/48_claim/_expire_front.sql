begin;
select plan(7);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

create function pg_temp.expire(priority integer default 0, max_tasks integer default 100) returns integer language sql as $$
    select underway._expire_front('email', array[expire.priority], underway._clock(), expire.max_tasks)
$$;

select underway.enqueue('email', to_jsonb(given.name), expires => given.expires, priority => given.priority, concurrency_key => given.key)
from (
    values
        ('a', interval '1 minute', 0, null), ('b', null, 0, null), ('c', '1 minute', 0, null), ('d', '1 minute', 0, null),
        ('e', '2 minutes', 0, null), ('f', '1 minute', 1, null), ('g', '1 minute', 0, 'key')
) as given (name, expires, priority, key);

select is(pg_temp.expire(), 0, 'nothing has expired');
select underway_test.advance_clock('1 minute');
select is(pg_temp.expire(max_tasks => 2), 2, 'at most so many tasks expire');
select is(underway_test.ready(), 'b d e f g', 'the first that a claim reads expire first');
select is(pg_temp.expire(), 1, 'tasks of other priorities, and tasks with a concurrency key, are left');
select is(underway_test.ready(), 'b e f g', 'tasks that have not expired are left');
select is(pg_temp.expire(1), 1, 'each priority is cleared by itself');

select ok(
    (select q.has_keys from underway.queue q where q.name = 'email'), 'where nothing has expired, tasks with keys are looked for'
);

select * from finish();
rollback;
