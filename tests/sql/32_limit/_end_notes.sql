-- what is noted of a key is noted no longer when it has been seen to

begin;
select plan(10);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', fair => true);
select underway_test.keyed_tasks('a1 a2 b1 1');

-- As a claim that has looked at all of them.
create function pg_temp.end_notes(keys text[] default '{a,b,c,""}') returns void language sql as $$
    select underway._end_notes(
        underway_test.queue(),
        array(
            select row(f.concurrency_key, min(f.place), 0)::underway.free_key
            from underway.ready_key f
            where f.concurrency_key = any (end_notes.keys)
            group by f.concurrency_key
        ),
        underway._clock()
    )
$$;

select pg_temp.end_notes();
select is(underway_test.line(), 'a b -', 'while there is more to take, the note stays');

insert into underway.ready_key (queue, concurrency_key) values ('email', 'a'), ('email', 'c'), ('email', ''), ('email', 'a');
select pg_temp.end_notes();
select is(underway_test.line(), 'a b -', 'of several the first; of a key that has nothing, none');

select underway.pause_key('email', 'a');
select pg_temp.end_notes('{b,c}');
select is(underway_test.line(), 'a b -', 'of keys at which nobody has looked it stays');
select pg_temp.end_notes();
select is(underway_test.line(), 'b -', 'where the key has no room, it does not');
select underway.resume_key('email', 'a');
select is(underway_test.line(), 'b - a', 'until somebody notes that it has');

select underway.cancel(underway_test.named('b1')), underway.cancel(underway_test.named('1'));
select pg_temp.end_notes();
select is(underway_test.line(), 'a', 'when the last task is gone, no note is left');
select pg_temp.end_notes('{}');
select is(underway_test.line(), 'a', 'of no keys nothing is deleted');

-- tokens

select underway.create_queue('email', rate_limit_per_key => 6, rate_period => '1 minute');
select underway._take_tokens(underway_test.queue(), underway._clock(), 6, 'a');
select pg_temp.end_notes();
select is(underway_test.line(), '', 'a key that has no token has no room');
select is(
    (select f.check_at from underway.ready_key f where f.concurrency_key = 'a'), '2030-01-01 12:00:10+00',
    'and it is noted when one comes'
);
select pg_temp.end_notes();
select is((select count(*) from underway.ready_key), 1::bigint, 'that note stays');

select * from finish();
rollback;
