-- how long a failed task waits

begin;
select plan(28);

select underway_test.stop_clock();

-- one attempt of a task in a queue of its own, and how long it waits then

create function pg_temp.wait_after(attempt integer, policy underway.retry_policy, retry_after interval default null)
returns interval language plpgsql as $$
declare
    v_held underway_test.held;
begin
    perform underway.create_queue('email', retry_policy => wait_after.policy);
    v_held := underway_test.held_task('email', wait_after.attempt);
    return underway.fail(v_held.id, v_held.lease, '"x"', retry_after => wait_after.retry_after) - underway._clock();
end;
$$;

select is(
    pg_temp.wait_after(expected.attempt, underway.retry_policy(1000, '1 second', '60 seconds', 2, 0)), expected.wait,
    format('attempt %s is in_batch by %s', expected.attempt, expected.wait)
)
from (
    values
        (1, interval '1 second'), (2, '2 seconds'), (3, '4 seconds'), (4, '8 seconds'), (5, '16 seconds'),
        (6, '32 seconds'), (7, '60 seconds'), (8, '60 seconds'), (999, '60 seconds')
) as expected (attempt, wait);

select is(
    pg_temp.wait_after(2147483646, underway.retry_policy(2147483647, '1 second', '100 years', 1000000, 0)),
    make_interval(secs => extract(epoch from interval '100 years')::double precision),
    'nothing overflows at the greatest attempt'
);

select is(
    pg_temp.wait_after(expected.attempt, underway.retry_policy(10, '10 seconds', '1 hour', 1, 0)),
    interval '10 seconds',
    format('with factor 1 attempt %s is in_batch by the first interval', expected.attempt)
)
from unnest(array[1, 9]) as expected (attempt);

select is(
    pg_temp.wait_after(3, underway.retry_policy(10, '0', '1 hour', 2, 0.5)), interval '0',
    'a first interval of nothing stays nothing'
);

select is(
    pg_temp.wait_after(1, underway.retry_policy(10, '2 hours', '1 hour', 2, 0)), interval '1 hour',
    'the cap holds for the first interval too'
);

select is(
    pg_temp.wait_after(2, underway.retry_policy(10, '100 milliseconds', '1 hour', 1.5, 0)), interval '150 milliseconds',
    'intervals may be fractions of a second'
);

-- chance

create temp table waited as
select pg_temp.wait_after(3, underway.retry_policy(10, '10 seconds', '1 hour', 2, 0.25)) as wait
from generate_series(1, 300);

select is_empty(
    $$ select waited.wait from waited where waited.wait not between '30 seconds' and '40 seconds' $$,
    'jitter takes off at most its share of the interval'
);

select ok(
    min(waited.wait) < '31 seconds' and max(waited.wait) > '39 seconds' and avg(waited.wait) between '34 seconds' and '36 seconds',
    'the delays are spread evenly'
)
from waited;

select ok(
    min(full_jitter.wait) >= '0' and min(full_jitter.wait) < '2 seconds' and max(full_jitter.wait) <= '10 seconds',
    'jitter 1 may take off all of it'
)
from (
    select pg_temp.wait_after(1, underway.retry_policy(10, '10 seconds', '1 hour', 2, 1)) as wait from generate_series(1, 100)
) as full_jitter;

-- tasks of one batch do not come back at one moment

create temp table batch as
select claimed.id, claimed.lease
from underway.enqueue_many('email', array_fill('1'::jsonb, array[20])), underway.dequeue('email', 20) as claimed;

select ok(count(distinct failed.ready_at) > 15, 'the tasks of a batch wait each for a time of its own')
from
    (select array_agg(batch.id) as ids, array_agg(batch.lease) as leases from batch) as all_,
    underway.fail_many(all_.ids, all_.leases, array_fill('"x"'::jsonb, array[20])) as failed;

-- what the handler says

select is(
    pg_temp.wait_after(1, underway.retry_policy(10, '10 seconds', '1 hour', 2, 0.5), retry_after => '3 hours'),
    interval '3 hours',
    'a retry_after overrides the interval, its cap and the jitter'
);

select is(
    pg_temp.wait_after(1, underway.retry_policy(10, '10 seconds', '1 hour', 2, 0.5), retry_after => '0'), interval '0',
    'a retry_after of nothing means at once'
);

select is(
    pg_temp.wait_after(10, underway.retry_policy(10, '10 seconds', '1 hour', 2, 0.5), retry_after => '1 minute'), null,
    'a retry_after does not lengthen the attempts'
);

select is(
    pg_temp.wait_after(1, underway.retry_policy(1, '10 seconds')), null, 'a policy of one attempt never tries again'
);

-- the defaults

select underway.create_queue('defaults');

create function pg_temp.default_wait_after(attempt integer) returns interval language plpgsql as $$
declare
    v_held underway_test.held := underway_test.held_task('defaults', default_wait_after.attempt);
begin
    return underway.fail(v_held.id, v_held.lease, '"x"') - underway._clock();
end;
$$;

select ok(
    pg_temp.default_wait_after(expected.attempt) between expected.target / 2 and expected.target,
    format('by default attempt %s is in_batch by %s, less at most half of it', expected.attempt, expected.target)
)
from (values (1, interval '1 second'), (2, '2 seconds'), (3, '4 seconds'), (4, '8 seconds')) as expected (attempt, target);

select is(pg_temp.default_wait_after(5), null, 'by default there are five attempts');

select * from finish();
rollback;
