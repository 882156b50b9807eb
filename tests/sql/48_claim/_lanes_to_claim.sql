begin;
select plan(11);

create function pg_temp.lanes(variadic queues text[]) returns text language sql as $$
    select coalesce(string_agg(lane.queue || ' ' || lane.priority, ', ' order by lane.queue, lane.priority desc), '')
    from unnest(underway._lanes_to_claim(lanes.queues, 10, underway._clock())) lane
$$;

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('empty');
select underway.create_queue('images', timeout => '7 s', heartbeat => '6 s', retry_policy => underway.retry_policy(9));

select is(pg_temp.lanes('email', 'empty'), '', 'queues without tasks have no lane');
select underway.enqueue('email');
select underway.enqueue('email', priority => 5);
select underway.enqueue('images', priority => 5);
select is(
    pg_temp.lanes('email', 'empty', 'images'), 'email 5, email 0, images 5',
    'each priority of which a queue has a ready task is a lane'
);
select throws_ok($$ select pg_temp.lanes('empty', 'nowhere') $$, 'UW003', null, 'a queue that does not exist is refused');
select throws_ok(
    $$ select underway._lanes_to_claim('{email}', 10001, underway._clock()) $$, 'UW001', null, 'too many tasks are refused'
);
select underway.enqueue('empty', delay => '1 hour');
select is(pg_temp.lanes('email', 'empty'), 'email 5, email 0', 'a queue whose tasks are not due has no lane');
select is(pg_temp.lanes('empty'), 'empty 0', 'priority 0 of a queue alone is a lane without a check');
select underway.enqueue('empty', delay => '1 hour', priority => 7);
select is(pg_temp.lanes('empty'), 'empty 0', 'other priorities of a queue alone are checked');
select is(
    array(select l.priority from unnest(underway._lanes_to_claim('{email,images}', 10, underway._clock())) l)::text, '{5,5,0}',
    'the highest priority comes first'
);

select underway.pause_queue('email');
select is(pg_temp.lanes('email', 'images'), 'images 5', 'a paused queue has no lane');

-- keys to look at

select underway.create_queue('keyed', rate_limit_per_key => 1);
select underway.enqueue('keyed', delay => '1 hour');
select is(pg_temp.lanes('images', 'keyed'), 'images 5', 'a queue without a key to look at has no lane');
insert into underway.ready_key (queue, concurrency_key, check_at) values ('keyed', 'a', underway._clock());
select is(pg_temp.lanes('images', 'keyed'), 'images 5, keyed 0', 'a queue with a key to look at now has a lane');

select * from finish();
rollback;
