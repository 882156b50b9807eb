begin;
select plan(26);

-- the target: initial_interval * factor ^ (attempt - 1), up to max_interval; without jitter it is the delay

select results_eq(
    $$
        select underway.backoff(underway.retry_policy(jitter => 0), attempt)
        from generate_series(1, 8) as attempt
    $$,
    $$ values ('1 s'::interval), ('2 s'), ('4 s'), ('8 s'), ('16 s'), ('32 s'), ('60 s'), ('60 s') $$,
    'the delay is multiplied by the factor from attempt to attempt, up to the cap'
);

select results_eq(
    $$
        select underway.backoff(
            underway.retry_policy(initial_interval => '100 ms', max_interval => '1 s', factor => 1.5, jitter => 0),
            attempt
        )
        from generate_series(1, 4) as attempt
    $$,
    $$ values ('100 ms'::interval), ('150 ms'), ('225 ms'), ('337.5 ms') $$,
    'fractions of a second and of the factor are used'
);

select is(
    underway.backoff(given.policy, given.attempt), given.delay,
    format('the delay of %s after attempt %s is %s', given.policy, given.attempt, given.delay)
)
from (values
    (underway.retry_policy(jitter => 0), 2147483647, '60 s'::interval),
    -- the factor at its bounds
    (underway.retry_policy(factor => 1, jitter => 0), 1, '1 s'),
    (underway.retry_policy(factor => 1, jitter => 0), 2147483647, '1 s'),
    (underway.retry_policy(factor => 1e6, jitter => 0), 1, '1 s'),
    (underway.retry_policy(factor => 1e6, jitter => 0), 2, '60 s'),
    (underway.retry_policy(factor => 1e6, jitter => 0), 2147483647, '60 s'),
    (underway.retry_policy(initial_interval => '1 microsecond', factor => 1e6, jitter => 0), 2, '1 s'),
    -- an initial interval of 0, at the cap, and above it
    (underway.retry_policy(initial_interval => '0', jitter => 0), 1, '0'),
    (underway.retry_policy(initial_interval => '0', jitter => 0), 2147483647, '0'),
    (underway.retry_policy(initial_interval => '0', max_interval => '0', jitter => 0), 2147483647, '0'),
    (underway.retry_policy(initial_interval => '60 s', jitter => 0), 1, '60 s'),
    (underway.retry_policy(initial_interval => '2 hours', max_interval => '1 hour', jitter => 0), 1, '1 hour'),
    (underway.retry_policy(initial_interval => '2 hours', max_interval => '1 hour', jitter => 0), 2147483647, '1 hour'),
    (underway.retry_policy(initial_interval => '1 hour', max_interval => '0', jitter => 0), 1, '0')
) as given (policy, attempt, delay);

-- no overflow

create temporary table corner on commit drop as
select
    underway.retry_policy(2147483647, initial_interval, max_interval, factor, jitter) as policy,
    attempt,
    underway.backoff(
        underway.retry_policy(2147483647, initial_interval, max_interval, factor, jitter), attempt
    ) as delay
from unnest('{0, 1 microsecond, 1 second, 100 years}'::interval[]) as initial_interval
cross join unnest('{0, 1 microsecond, 1 second, 100 years}'::interval[]) as max_interval
cross join unnest('{1, 1.0000000000000002, 1.000001, 2, 1e6}'::double precision[]) as factor
cross join unnest('{0, 0.5, 1}'::double precision[]) as jitter
cross join unnest('{1, 2, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 2147483646, 2147483647}'::integer[]) as attempt;

select is(count(delay), 3120::bigint, 'each combination of extreme policies and attempts has a delay') from corner;

select is_empty(
    'select * from corner where extract(epoch from delay) not between 0 and extract(epoch from (policy).max_interval)',
    'no delay is below zero or above the cap'
);

select is_empty(
    $$
        select *
        from (
            select c.*, lag(delay) over (partition by policy order by attempt) as before
            from corner c
            where (policy).jitter = 0
        ) delays
        where delay < before
    $$,
    'without jitter the delay after a later attempt is never shorter'
);

-- jitter: uniform in [target * (1 - jitter), target]

create temporary table draw on commit drop as
select
    jitter,
    extract(epoch from underway.backoff(underway.retry_policy(initial_interval => '10 s', jitter => jitter), 2)) as delay
from unnest('{0, 0.1, 0.5, 1}'::numeric[]) as jitter
cross join generate_series(1, 2000);

select is_empty(
    'select jitter, delay from draw where delay not between 20 * (1 - jitter) and 20',
    'each delay lies between the target minus jitter and the target'
);

select is(
    (select count(distinct delay) from draw where jitter = 0), 1::bigint,
    'without jitter the delay is always the same'
);

select is(
    count(distinct width_bucket(delay, 20 * (1 - jitter), 20.000001, 20)), 20::bigint,
    format('with a jitter of %s the delays cover the whole range', jitter)
)
from draw
where jitter > 0
group by jitter
order by jitter;

select cmp_ok(
    (select abs(avg(delay) - 15) from draw where jitter = 0.5), '<', 0.5,
    'the mean of the delays is in the middle of the range'
);

select is(
    extract(epoch from max(underway.backoff(underway.retry_policy(initial_interval => '0', jitter => 1), 3))), 0::numeric,
    'the delay of an initial interval of 0 is 0 with any jitter'
)
from generate_series(1, 100);

select * from finish();
rollback;
