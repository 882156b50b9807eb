-- the token bucket of a rate limit

begin;
select plan(29);

create function pg_temp.tokens() returns numeric language sql as $$
    select round(underway._available_tokens(underway_test.queue(), underway._clock())::numeric, 6) + 0.0
$$;

create function pg_temp.take(tokens integer) returns void language sql as $$
    select underway._take_tokens(underway_test.queue(), underway._clock(), take.tokens)
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', rate_limit => 10, rate_period => '10 seconds');

-- full at first

select is(pg_temp.tokens(), 10.0, 'the bucket of a new queue is full');
select underway_test.advance_clock('1 day');
select is(pg_temp.tokens(), 10.0, 'a full bucket does not fill further');

-- tokens are taken, and the bucket refills

select pg_temp.take(7);
select is(pg_temp.tokens(), 3.0, 'taken tokens leave the bucket');
select pg_temp.take(3);
select is(pg_temp.tokens(), 0.0, 'all tokens of a bucket can be taken');
select underway_test.advance_clock('1 second');
select is(pg_temp.tokens(), 1.0, 'a bucket refills evenly');
select underway_test.advance_clock('500 milliseconds');
select is(pg_temp.tokens(), 1.5, 'a bucket refills by parts of tokens');
select pg_temp.take(1);
select is(pg_temp.tokens(), 0.5, 'taking a token keeps the part of the next one');
select underway_test.advance_clock('500 milliseconds');
select is(pg_temp.tokens(), 1.0, 'the part of a token that was kept becomes a whole token on time');
select underway_test.advance_clock('9 seconds');
select is(pg_temp.tokens(), 10.0, 'a bucket fills in one rate_period');
select underway_test.advance_clock('9 seconds');
select is(pg_temp.tokens(), 10.0, 'a bucket fills up to the rate limit');

-- what is stored

select is((select count(*) from underway.token_bucket), 1::bigint, 'one row is kept for the bucket of a queue');
select results_eq(
    'select queue collate "default", tokens, refilled_at from underway.token_bucket',
    $$ values ('email', 0.5::float8, '2030-01-02 12:00:01.5+00'::timestamptz) $$,
    'the row of a bucket holds its last state'
);

-- buckets of several queues

select underway.create_queue('sms', rate_limit => 2);
select underway._take_tokens(underway_test.queue('sms'), underway._clock(), 2);
select is(pg_temp.tokens(), 10.0, 'taking tokens of another queue takes none of this one');
select pg_temp.take(4);
select is(
    underway._available_tokens(underway_test.queue('sms'), underway._clock()), 0::float8, 'taking tokens of this queue takes none of another one'
);
select is(
    underway._available_tokens(underway_test.queue('sms'), underway._clock() + interval '1 second'), 2::float8,
    'the default rate_period is a second'
);

-- a clock that is put back

select is(pg_temp.tokens(), 6.0, 'tokens that were not taken are left');
select underway_test.advance_clock('-1 second');
select is(pg_temp.tokens(), 6.0, 'a clock that is put back by a second takes no tokens away');
select underway_test.advance_clock('-1 hour');
select is(pg_temp.tokens(), 10.0, 'a bucket is full after the clock was put back by more than a rate_period');
select pg_temp.take(10);
select is(pg_temp.tokens(), 0.0, 'the tokens of a bucket can be taken after the clock was put back');
select underway_test.advance_clock('2 seconds');
select is(pg_temp.tokens(), 2.0, 'a bucket refills by the clock after that was put back');

-- a rate that changes

select underway.create_queue('email', rate_limit => 20);
select underway_test.advance_clock('1 second');
select is(pg_temp.tokens(), 6.0, 'a higher rate counts from the last change of the bucket');
select underway.create_queue('email', rate_limit => 4);
select is(pg_temp.tokens(), 1.2, 'a lower rate counts from the last change of the bucket');
select underway_test.advance_clock('1 hour');
select is(pg_temp.tokens(), 4.0, 'a bucket with a lower limit holds no more than that');
select pg_temp.take(4);
select underway.create_queue('email', rate_period => '1 second');
select underway_test.advance_clock('250 milliseconds');
select is(pg_temp.tokens(), 1.0, 'a bucket refills faster with a shorter rate_period');
select underway.create_queue('email', rate_limit => 0);
select underway.create_queue('email', rate_limit => 4);
select is(pg_temp.tokens(), 1.0, 'a limit that is removed and given again does not fill the bucket');

-- claims take them

select underway_test.advance_clock('1 hour');
select underway_test.keyed_tasks('1 2 3 4 5 6');
select underway_test.claimed(3);
select is(pg_temp.tokens(), 1.0, 'each claimed task takes a token');
select underway.release(t.id, t.lease) from underway.task t where t.input = '"1"';
select is(pg_temp.tokens(), 1.0, 'a released task does not return its token');
select underway_test.claimed();
select is(pg_temp.tokens(), 0.0, 'a claim takes the last token');
select underway_test.claimed();
select is(pg_temp.tokens(), 0.0, 'a claim that finds no token takes none');

select * from finish();
rollback;
