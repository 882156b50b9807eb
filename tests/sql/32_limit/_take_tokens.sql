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

select is(pg_temp.tokens(), 10.0, 'the bucket of a queue is full at first');
select underway_test.advance_clock('1 day');
select is(pg_temp.tokens(), 10.0, 'and never more than full');

-- tokens are taken, and come

select pg_temp.take(7);
select is(pg_temp.tokens(), 3.0, 'tokens that are taken are gone');
select pg_temp.take(3);
select is(pg_temp.tokens(), 0.0, 'until none is left');
select underway_test.advance_clock('1 second');
select is(pg_temp.tokens(), 1.0, 'they come evenly');
select underway_test.advance_clock('500 milliseconds');
select is(pg_temp.tokens(), 1.5, 'in parts, too');
select pg_temp.take(1);
select is(pg_temp.tokens(), 0.5, 'and no part is lost when others are taken');
select underway_test.advance_clock('500 milliseconds');
select is(pg_temp.tokens(), 1.0, 'so that the rate is kept');
select underway_test.advance_clock('9 seconds');
select is(pg_temp.tokens(), 10.0, 'in its period an empty bucket fills');
select underway_test.advance_clock('9 seconds');
select is(pg_temp.tokens(), 10.0, 'up to the limit');

-- what is noted

select is((select count(*) from underway.token_bucket), 1::bigint, 'one row is kept for a queue');
select results_eq(
    'select queue collate "default", tokens, refilled_at from underway.token_bucket',
    $$ values ('email', 0.5::float8, '2030-01-02 12:00:01.5+00'::timestamptz) $$,
    'the last that was noted'
);

-- buckets of several queues

select underway.create_queue('sms', rate_limit => 2);
select underway._take_tokens(underway_test.queue('sms'), underway._clock(), 2);
select is(pg_temp.tokens(), 10.0, 'another queue has a bucket of its own');
select pg_temp.take(4);
select is(
    underway._available_tokens(underway_test.queue('sms'), underway._clock()), 0::float8, 'from which nobody else takes'
);
select is(
    underway._available_tokens(underway_test.queue('sms'), underway._clock() + interval '1 second'), 2::float8,
    'where no period is given, it is a second'
);

-- a clock that is put back

select is(pg_temp.tokens(), 6.0, 'some are left');
select underway_test.advance_clock('-1 second');
select is(pg_temp.tokens(), 6.0, 'a clock that is put back takes nothing away');
select underway_test.advance_clock('-1 hour');
select is(pg_temp.tokens(), 10.0, 'by far, and nobody knows any more what was taken');
select pg_temp.take(10);
select is(pg_temp.tokens(), 0.0, 'what is there may be taken');
select underway_test.advance_clock('2 seconds');
select is(pg_temp.tokens(), 2.0, 'and tokens come from then on, as the clock goes now');

-- a rate that changes

select underway.create_queue('email', rate_limit => 20);
select underway_test.advance_clock('1 second');
select is(pg_temp.tokens(), 6.0, 'a higher rate gives more from the last claim on');
select underway.create_queue('email', rate_limit => 4);
select is(pg_temp.tokens(), 1.2, 'as a lower one gives less');
select underway_test.advance_clock('1 hour');
select is(pg_temp.tokens(), 4.0, 'a smaller bucket holds no more than it may');
select pg_temp.take(4);
select underway.create_queue('email', rate_period => '1 second');
select underway_test.advance_clock('250 milliseconds');
select is(pg_temp.tokens(), 1.0, 'in a shorter period they come faster');
select underway.create_queue('email', rate_limit => 0);
select underway.create_queue('email', rate_limit => 4);
select is(pg_temp.tokens(), 1.0, 'a limit that is taken away and given again fills no bucket');

-- claims take them

select underway_test.advance_clock('1 hour');
select underway_test.keyed_tasks('1 2 3 4 5 6');
select underway_test.claimed(3);
select is(pg_temp.tokens(), 1.0, 'each task that is claimed takes a token');
select underway.release(t.id, t.lease) from underway.task t where t.input = '"1"';
select is(pg_temp.tokens(), 1.0, 'and does not give it back');
select underway_test.claimed();
select is(pg_temp.tokens(), 0.0, 'the last token is taken by the last claim');
select underway_test.claimed();
select is(pg_temp.tokens(), 0.0, 'a claim that finds no token takes none');

select * from finish();
rollback;
