-- the highest priority first

begin;
select plan(11);

create function pg_temp.claimed(max_tasks integer default 100) returns text[] language sql as $$
    select coalesce(array_agg(claimed.input #>> '{}'), '{}') from underway.dequeue('email', claimed.max_tasks) as claimed
$$;

select underway_test.stop_clock();
select underway.create_queue('email');

select underway.enqueue('email', '"normal 1"');
select underway.enqueue('email', '"lowest"', priority => -100);
select underway.enqueue('email', '"low"', priority => -1);
select underway.enqueue('email', '"high 1"', priority => 10);
select underway.enqueue('email', '"highest"', priority => 100);
select underway.enqueue('email', '"high 2"', priority => 10);
select underway.enqueue('email', '"normal 2"');

select is(
    pg_temp.claimed(), array['highest', 'high 1', 'high 2', 'normal 1', 'normal 2', 'low', 'lowest'],
    'one claim takes the priorities from high to low, and within one the order of insertion'
);

-- the same, one by one

select underway.enqueue('email', '"low"', priority => -1);
select underway.enqueue('email', '"high"', priority => 10);
select underway.enqueue('email', '"normal"');

select is(
    pg_temp.claimed(1) || pg_temp.claimed(1) || pg_temp.claimed(1), array['high', 'normal', 'low'],
    'claims of one task take the priorities from high to low'
);

-- a limit amid the priorities

select underway.enqueue_many('email', array['"high 1"', '"high 2"']::jsonb[], priority => 10);
select underway.enqueue_many('email', array['"normal 1"', '"normal 2"']::jsonb[]);

select is(
    pg_temp.claimed(3), array['high 1', 'high 2', 'normal 1'],
    'a claim that is not filled by a priority goes on with the next'
);
select is(pg_temp.claimed(3), array['normal 2'], 'tasks beyond max_tasks are left to the next claim');

-- one claim, one lease

select underway.enqueue('email', priority => 1);
select underway.enqueue('email', priority => 2);

select is(
    (select array[count(*), count(distinct claimed.lease)] from underway.dequeue('email', 2) as claimed), array[2, 1]::bigint[],
    'tasks of several priorities share the lease of their claim'
);

-- priority comes before time

select underway.enqueue('email', '"waits for long"');
select underway_test.advance_clock('1 day');
select underway.enqueue('email', '"urgent"', priority => 1);

select is(pg_temp.claimed(), array['urgent', 'waits for long'], 'priority counts before the time of waiting');

-- delayed tasks

select underway.enqueue('email', '"urgent tomorrow"', priority => 10, delay => '1 day');
select underway.enqueue('email', '"now"');

select is(pg_temp.claimed(), array['now'], 'a task of a high priority that is not due does not hold up others');

select underway_test.advance_clock('1 day');
select underway.enqueue('email', '"now again"');

select is(pg_temp.claimed(), array['urgent tomorrow', 'now again'], 'a task of a high priority comes first when it is due');

-- later attempts

select underway.enqueue('email', '"retried"', priority => 5);
select from underway.dequeue('email') as claimed, underway.fail(claimed.id, claimed.lease, '"x"', retry_after => '0');
select underway.enqueue('email', '"normal"');

select is(pg_temp.claimed(), array['retried', 'normal'], 'a task keeps its priority when it is tried again');

-- many priorities

select underway.enqueue('email', to_jsonb(priority), priority => priority)
from generate_series(-100, 100) as priority
order by (priority + 100) * 7919 % 201;

select is(
    pg_temp.claimed(201), array(select priority::text from generate_series(100, -100, -1) as priority),
    'one claim takes tasks of all priorities from 100 to -100 in their order'
);

select underway.enqueue('email', to_jsonb(priority), priority => priority) from generate_series(-100, 100) as priority;

select is(
    array(select unnest(pg_temp.claimed(1)) from generate_series(1, 201)),
    array(select priority::text from generate_series(100, -100, -1) as priority),
    'claims of one task take all priorities from 100 to -100 in their order'
);

select * from finish();
rollback;
