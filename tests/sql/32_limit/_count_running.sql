-- what a claim takes counts as running, and waits no longer

begin;
select plan(8);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit_per_key => 10);
select underway_test.keyed_tasks('a1 a2 a3 b1 1');
update underway.task set parked = true where input in ('"a1"', '"a2"');
insert into underway.parked
select queue, concurrency_key, priority, ready_at, id from underway.task where parked;

create function pg_temp.count(names text) returns void language sql as $$
    select underway._count_running(underway_test.queue(), underway_test.seen(count.names), underway._clock())
$$;

create function pg_temp.running() returns text language sql as $$
    select string_agg(r.concurrency_key || ':' || (t.input #>> '{}'), ' ' order by t.id)
    from underway.running r
    join underway.task t on t.id = r.task
$$;

select pg_temp.count('a1 a3 b1 1');
select is(pg_temp.running(), 'a:a1 a:a3 b:b1 :1', 'each is counted under its key, and what has none under the empty one');
select is(
    (select array_agg(p.task) from underway.parked p), array[underway_test.named('a2')],
    'it does not wait for its key any more, and others do'
);
select is(underway_test.parked(), 'a1 a2', 'the task itself is left to who claims it');

-- tokens

select is(
    underway._tokens(underway_test.queue(), underway._clock(), 'a'), 8::double precision,
    'each takes a token of its key'
);
select is(
    underway._tokens(underway_test.queue(), underway._clock(), 'b'), 9::double precision, 'each key has its own'
);
select is((select count(*) from underway.token_bucket), 2::bigint, 'what has no key takes none');

-- nothing

select underway._count_running(underway_test.queue(), '{}', underway._clock());
select is(pg_temp.running(), 'a:a1 a:a3 b:b1 :1', 'nothing counts as nothing');

-- where no rate is

select underway.create_queue('email', rate_limit_per_key => 0);
select pg_temp.count('a2');
select is((select count(*) from underway.token_bucket), 2::bigint, 'no tokens are taken where keys have no rate');

select * from finish();
rollback;
