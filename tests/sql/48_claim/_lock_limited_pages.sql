-- many tasks that wait in front of others

begin;
select plan(12);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.backlog(key text, tasks integer) returns void language sql as $$
    select underway.enqueue_many('email', array_fill(to_jsonb(backlog.key), array[backlog.tasks]));
    update underway.task set concurrency_key = backlog.key where input = to_jsonb(backlog.key);
    insert into underway.keyed_queue values ('email')
$$;

-- a claim of many

select pg_temp.backlog('a', 1200);
select pg_temp.backlog('b', 1);
select is(underway_test.claimed(1000), 'a b', 'a claim of many looks behind more than a page of one key');
select is((select count(*) from underway.task where parked), 1199::bigint, 'and parks them all');

select underway.cancel(t.id) from underway.task t;
select underway_test.claimed();

-- a claim of one

select pg_temp.backlog('a', 1100);
select is(underway_test.claimed(1), 'a', 'the first of a key is claimed');
select is(
    (select count(*) from underway.task where parked) < 200, true,
    'no more is parked than is seen on the way, so that a claim of one stays short'
);
select pg_temp.backlog('b', 1);
select is(underway_test.claimed(1), '', 'a claim of one looks at no more than a thousand');
select is(
    (select count(*) between 1000 and 1099 from underway.task where parked), true, 'which it has parked, and so'
);
select is(underway.next_wakeup('{email}'), '10 milliseconds', 'a worker comes back at once');
select is(underway_test.claimed(1), 'b', 'and finds what is behind them');

-- parked once

create temp table places as select t.ctid as place, t.id from underway.task t where t.parked;
select is(underway_test.claimed(), '', 'later claims');
select is_empty(
    $$
        select t.ctid, t.id from underway.task t where t.parked
        except
        select p.place, p.id from places p
    $$,
    'do not write what they would have parked, for it is'
);

-- many keys that become free at once

select underway.cancel(t.id) from underway.task t;
select underway_test.claimed();
select underway_test.keyed_tasks(string_agg(format('k%sx1 k%sx2', n, n), ' ' order by n))
from generate_series(1, 1020) n;
update underway.task set concurrency_key = split_part(input #>> '{}', 'x', 1);
select underway_test.claimed(10000);
select underway_test.done((select string_agg(input #>> '{}', ' ') from underway.task where state = 'in_progress'));
select underway_test.keyed_tasks(string_agg(format('k%sx3', n), ' ' order by n)) from generate_series(1, 1020) n;
update underway.task set concurrency_key = split_part(input #>> '{}', 'x', 1);

create function pg_temp.turns() returns text language sql as $$
    select string_agg(format('%s of x%s', turn.tasks, turn.number), ', ' order by turn.number)
    from (
        select split_part(claimed.input #>> '{}', 'x', 2) as number, count(*) as tasks
        from underway.dequeue('email', 10000) claimed
        group by 1
    ) turn
$$;

select is(
    pg_temp.turns(), '1000 of x2', 'a claim looks at a thousand keys at most, and lets nothing overtake what is parked'
);
select is(pg_temp.turns(), '20 of x2', 'the next one looks at those left');

select * from finish();
rollback;
