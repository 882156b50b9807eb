-- buckets of a queue and of its keys; _take_tokens.sql tests how they fill and empty

begin;
select plan(21);

create function pg_temp.tokens(key text default '') returns numeric language sql as $$
    select round(underway._available_tokens(underway_test.queue(), underway._clock(), tokens.key)::numeric, 6) + 0.0
$$;

create function pg_temp.next_token(key text default '') returns interval language sql as $$
    select underway._next_token_at(underway_test.queue(), underway._clock(), next_token.key) - underway._clock()
$$;

create function pg_temp.bucket(tokens double precision, refilled_at timestamptz, key text default '') returns void language sql as $$
    insert into underway.token_bucket (queue, concurrency_key, tokens, refilled_at)
    values ('email', bucket.key, bucket.tokens, bucket.refilled_at)
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');

-- no limit

select underway.create_queue('email');
select is(pg_temp.tokens(), null, 'a queue without a rate limit has no number of tokens');
select is(pg_temp.tokens('a'), null, 'a key of a queue without a rate limit per key has no number of tokens');

-- a queue and its keys

select underway.create_queue('email', rate_limit => 4, rate_limit_per_key => 2, rate_period => '8 seconds');
select is(pg_temp.tokens(), 4.0, 'the bucket of a queue without a row is full');
select is(pg_temp.tokens('a'), 2.0, 'the bucket of a key without a row is full');
select pg_temp.bucket(1, '2030-01-01 12:00:00+00'), pg_temp.bucket(0.25, '2030-01-01 12:00:00+00', 'a');
select is(pg_temp.tokens(), 1.0, 'the bucket of a queue holds the tokens of its row');
select is(pg_temp.tokens('a'), 0.25, 'the bucket of a key holds the tokens of its own row');
select is(pg_temp.tokens('b'), 2.0, 'the bucket of another key is full');
select underway_test.advance_clock('1 second');
select is(pg_temp.tokens(), 1.5, 'the bucket of a queue refills by rate_limit in a rate_period');
select is(pg_temp.tokens('a'), 0.5, 'the bucket of a key refills by rate_limit_per_key in a rate_period');
select pg_temp.bucket(0, '2030-01-01 12:00:01+00');
select is(pg_temp.tokens(), 0.0, 'of several rows the one that was written last counts');
select underway_test.advance_clock('1 minute');
select is(pg_temp.tokens(), 4.0, 'a bucket holds no more tokens than the rate limit');

-- the next token

select is(pg_temp.next_token(), '0', 'a bucket with a whole token has its next token now');
select pg_temp.bucket(0.5, underway._clock()), pg_temp.bucket(0.5, underway._clock(), 'a');
select is(pg_temp.next_token(), '1 second', 'half a token of a queue with 4 tokens in 8 seconds is missing for a second');
select is(pg_temp.next_token('a'), '2 seconds', 'half a token of a key with 2 tokens in 8 seconds is missing for two seconds');
select underway_test.advance_clock('1.5 seconds');
select is(pg_temp.next_token('a'), '0.5 seconds', 'the time until the next token shrinks as the clock advances');
select is(pg_temp.next_token('b'), '0', 'a key with a full bucket has its next token now');

-- the clock is put back

select pg_temp.bucket(1, underway._clock() + interval '8 seconds');
select is(pg_temp.tokens(), 1.0, 'a bucket that was written a rate_period ahead loses no token and gains none');
select pg_temp.bucket(1, underway._clock() + interval '8.000001 seconds');
select is(pg_temp.tokens(), 4.0, 'a bucket that was written more than a rate_period ahead is full');
select pg_temp.bucket(0, underway._clock() + interval '1 day', 'a');
select is(pg_temp.tokens('a'), 2.0, 'a bucket of a key that was written a day ahead is full');
select is(pg_temp.next_token('a'), '0', 'a bucket of a key that was written a day ahead has its next token now');

-- a queue with the name of a key

select underway.create_queue('a', rate_limit => 3);
select is(
    underway._available_tokens(underway_test.queue('a'), underway._clock()), 3::double precision,
    'a queue does not use the bucket of a key that has its name'
);

select * from finish();
rollback;
