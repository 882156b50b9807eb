-- when to look again at a key that waits for a token

begin;
select plan(6);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', rate_limit_per_key => 6, rate_period => '1 minute');

create function pg_temp.note(keys text[]) returns void language sql as $$
    select underway._note_tokens(underway_test.queue(), note.keys, underway._clock())
$$;

create function pg_temp.noted() returns text language sql as $$
    select coalesce(string_agg(f.concurrency_key || to_char(f.check_at at time zone 'UTC', ' HH24:MI:SS'), ', '
        order by f.concurrency_key, f.check_at), '')
    from underway.ready_key f
$$;

select pg_temp.note('{a,b}');
select is(pg_temp.noted(), '', 'a key that has a token is not noted');

select underway._take_tokens(underway_test.queue(), underway._clock(), 6, 'a');
select underway._take_tokens(underway_test.queue(), underway._clock(), 7, 'b');
select pg_temp.note('{a,b,c}');
select is(pg_temp.noted(), 'a 12:00:10, b 12:00:20', 'of others it is noted when they have one');
select pg_temp.note('{a,b}');
select is(pg_temp.noted(), 'a 12:00:10, b 12:00:20', 'once');

select underway._take_tokens(underway_test.queue(), underway._clock(), 1, 'a');
select pg_temp.note('{a}');
select is(pg_temp.noted(), 'a 12:00:10, a 12:00:20, b 12:00:20', 'a later time is noted too');

select underway_test.advance_clock('1 minute');
select pg_temp.note('{a,b}');
select is(pg_temp.noted(), 'a 12:00:10, a 12:00:20, b 12:00:20', 'when tokens have come, nothing is noted');
select pg_temp.note('{}');
select is(pg_temp.noted(), 'a 12:00:10, a 12:00:20, b 12:00:20', 'nor of no key');

select * from finish();
rollback;
