begin;
select plan(9);

select underway_test.stop_clock();
select underway.create_queue('email', heartbeat => '1 hour', timeout => '1 hour');
select underway.create_queue('idle');
select underway.create_queue('paused');
select underway.enqueue(queue) from unnest('{email,paused}'::text[]) as queue;
select underway.pause_queue('paused');

-- Time passes, and maintain() does its chores.
create function pg_temp.pass(by interval)
returns void
language sql
as $$
    select underway_test.advance_clock(pass.by);
    select underway.maintain(at_once => true);
$$;

select pg_temp.pass('4 minutes');
select is_empty('select from underway.event', 'a task may be ready for five minutes');

select pg_temp.pass('2 minutes');
select pg_temp.pass('1 minute');
select results_eq(
    'select kind, queue, details from underway.event',
    $$ values ('queue_blocked', 'email', '{"oldest_ready_seconds": 360, "reason": "no_worker"}'::jsonb) $$,
    'a queue that no worker serves is reported once'
);

select underway.register_worker('host-1', '{email}');
create temporary table claimed on commit drop as select * from underway.dequeue('email', 1);
select pg_temp.pass('1 minute');
select results_eq(
    $$ select kind, queue, details from underway.event where kind like 'queue%' and kind <> 'queue_blocked' $$,
    $$ values ('queue_unblocked', 'email', '{"blocked_seconds": 120}'::jsonb) $$,
    'a queue whose tasks are claimed is reported as unblocked'
);

select underway.enqueue('email') from generate_series(1, 2);
select underway_test.advance_clock('4 minutes');
create temporary table late on commit drop as select * from underway.dequeue('email', 1);
select pg_temp.pass('2 minutes');
select is(
    (select count(*) from underway.event where kind like 'queue%'), 2::bigint,
    'a queue of which a task was started lately is not blocked, while it runs'
);
select underway.complete(id, lease) from late;
select pg_temp.pass('2 minutes');
select pg_temp.pass('30 seconds');
select is(
    (select count(*) from underway.event where kind like 'queue%'), 2::bigint,
    'a queue of which a task was started lately is not blocked, when it has ended'
);

delete from underway.event;
select underway_test.advance_clock('10 minutes');
update underway.worker set seen_at = underway._clock();
select pg_temp.pass('0');
select results_eq(
    $$ select kind, details ->> 'reason' from underway.event where kind like 'queue%' $$,
    $$ values ('queue_blocked', 'not_claimed') $$,
    'a queue that a live worker serves and does not claim from is blocked too'
);

delete from underway.event;
select underway.drop_queue('email', force => true);
select pg_temp.pass('1 minute');
select is((select count(*) from underway.blocked_queue), 0::bigint, 'a queue that was dropped is not blocked any more');

select underway.resume_queue('paused');
delete from underway.event;
select pg_temp.pass('1 minute');
select is((select queue from underway.event where kind = 'queue_blocked'), 'paused', 'a queue that is resumed may be blocked');
select is((select count(*) from underway.event where queue = 'idle'), 0::bigint, 'a queue without tasks is never blocked');

select * from finish();
rollback;
