begin;
select plan(5);

select cmp_ok(
    underway._clock(), '>', now(),
    'the clock is later than the start of the transaction'
);

select cmp_ok(
    underway._clock(), '<=', clock_timestamp(),
    'the clock is the clock of the server'
);

select cmp_ok(
    (select count(distinct underway._clock()) from generate_series(1, 10000)), '>', 1::bigint,
    'the clock advances within a statement'
);

-- the clock of tests

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is(
    underway._clock(), '2030-01-01 12:00:00+00'::timestamptz,
    'a test can stop the clock inside its transaction'
);

select underway_test.advance_clock('1 day');

select is(
    underway._clock(), '2030-01-02 12:00:00+00'::timestamptz,
    'a test can advance the stopped clock'
);

select * from finish();
rollback;
