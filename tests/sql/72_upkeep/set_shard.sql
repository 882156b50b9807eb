-- giving a database its number among the shards of an application

begin;
select plan(21);

create function pg_temp.next_ids() returns text language sql as $$
    select string_agg(format('%s+%s', given.id >> 44, given.id & ((1::bigint << 44) - 1)), ' ' order by given.n)
    from (
        values
            (1, nextval('underway.task_id_seq')), (2, nextval('underway.batch_id_seq')),
            (3, nextval('underway.worker_id_seq')), (4, nextval('underway.event_id_seq'))
    ) as given (n, id)
$$;

select throws_ok(
    format('select underway.set_shard(%s)', coalesce(given.shard::text, 'null')), 'UW001',
    format('the shard number is %s', coalesce(given.shard::text, 'null')),
    format('the number %s is refused', coalesce(given.shard::text, 'null'))
)
from unnest('{-1,512,2147483647,null}'::integer[]) as given (shard);

-- Transactions that were rolled back have taken ids.
alter sequence underway.task_id_seq restart;
alter sequence underway.batch_id_seq restart;
alter sequence underway.worker_id_seq restart;
alter sequence underway.event_id_seq restart;

savepoint new_database;
select is(underway.set_shard(0), false, 'shard 0 is what a new database is');
select is(underway.set_shard(511), true, 'the largest number is 511');
select is(underway.set_shard(511), false, 'the same number again changes nothing');
select is(underway.shard(), 511, 'the number is stored');
select is(
    (select s.seqmax from pg_sequence s where s.seqrelid = 'underway.task_id_seq'::regclass), (1::bigint << 53) - 1,
    'the largest id of shard 511 is the largest integer that JavaScript has'
);
select is(underway.set_shard(3), true, 'a database without ids may get another number');

select is(pg_temp.next_ids(), '3+1 3+1 3+1 3+1', 'the ids of tasks, batches, workers and events start in the shard');
select is(underway.set_shard(3), false, 'the same number again does nothing when ids were given out');
select throws_ok(
    'select underway.set_shard(4)', 'UW017',
    'this database is shard 3 and has given out ids; it cannot become shard 4',
    'the number cannot change when ids were given out'
);
select is(
    underway_test.hint_of('select underway.set_shard(0)'),
    'Give the number to a new database, and move the tasks there with `underway move`.',
    'the hint says what to do instead'
);
rollback to new_database;

select underway.set_shard(3);
select nextval('underway.event_id_seq');
select throws_ok('select underway.set_shard(4)', 'UW017', null, 'a single event is enough to fix the number');
rollback to new_database;

-- What relies on the order of ids works in a shard whose number was higher before.

select underway.set_shard(5);
update underway.stat_position set counted_task = 5::bigint << 44, observed_task = 5::bigint << 44;
select is(underway.set_shard(3), true, 'the number may be lower than before');
select underway.create_queue('email', max_length => 150);
select underway.enqueue_many('email', array_fill('{}'::jsonb, array[120]));
select is(
    (select min(t.id) from underway.task t), (3::bigint << 44) + 1, 'the first task has the first id of the shard'
);
select throws_ok(
    $$ select underway.enqueue_many('email', array_fill('{}'::jsonb, array[31])) $$, 'UW011', null,
    'the length of a queue is counted'
);
select lives_ok(
    $$ select underway.enqueue_many('email', array_fill('{}'::jsonb, array[30])) $$, 'what fits is enqueued'
);
select setval('underway.task_id_seq', (3::bigint << 44) + 1000);
select underway._observe_positions();
select is(
    underway._count_enqueued((select o.settled_task from underway._observe_positions() o)), 150,
    'the statistics count the tasks of the shard'
);
truncate underway.event restart identity cascade;
select is(
    nextval('underway.event_id_seq'), (3::bigint << 44) + 1, 'a sequence that is restarted stays in the shard'
);

select * from finish();
rollback;
