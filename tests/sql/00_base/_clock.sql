begin;
select plan(8);

select cmp_ok(
    underway._clock(), '>', now(),
    'the clock goes on after the start of the transaction'
);

select cmp_ok(
    underway._clock(), '<=', clock_timestamp(),
    'the clock is that of the database'
);

select cmp_ok(
    (select count(distinct underway._clock()) from generate_series(1, 10000)), '>', 1::bigint,
    'the clock goes on within a statement'
);

-- the clock of who writes

select cmp_ok(underway._clock_after_xid(), '>', now(), 'who writes sees the same clock');

-- the tests' own clock

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is(
    underway._clock(), '2030-01-01 12:00:00+00'::timestamptz,
    'a test stops the clock inside its transaction'
);

select underway_test.advance_clock('1 day');

select is(
    underway._clock(), '2030-01-02 12:00:00+00'::timestamptz,
    'a test advances the stopped clock'
);

select cmp_ok(underway._clock_before_xid(), '<=', now(), 'a transaction began before it had its id');

select underway_test.stop_clock('2001-01-01 12:00:00+00');

select is(
    underway._clock_before_xid(), '2001-01-01 12:00:00+00'::timestamptz,
    'and never later than the clock says, when that was put back'
);

select * from finish();
rollback;
