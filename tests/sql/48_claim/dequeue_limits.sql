-- queues with limits beside those without

begin;
select plan(28);

select underway_test.stop_clock();
select underway.create_queue(name) from unnest('{plain,email,sms}'::text[]) as name;

-- one of several queues has a limit

select underway.create_queue('sms', max_running => 2);
select underway.enqueue_many('plain', '{"\"p1\"","\"p2\""}');
select underway_test.keyed_tasks('1 2 3 4', 'sms');
select underway_test.keyed_tasks('a1 a2 5', 'email');

create function pg_temp.of_all(max_tasks integer default 100) returns text[] language sql as $$
    select array(
        select string_to_table(underway_test.claimed(of_all.max_tasks, 'plain', 'email', 'sms'), ' ') order by 1
    )
$$;

select is(
    pg_temp.of_all(), '{1,2,5,a1,p1,p2}', 'a claim from several queues takes of each what its limits allow'
);
select is(pg_temp.of_all(), '{}', 'and then there is no more');
select is(
    (select count(*) from underway.task where queue = 'plain' and limited), 0::bigint,
    'what comes from a queue without limits is not counted'
);
select is(
    (select count(*) from underway.task where state = 'in_progress' and queue <> 'plain' and not limited), 0::bigint,
    'all that comes from the others is'
);
select underway_test.done('1 a1');
select is(
    array(select unnest(pg_temp.of_all(1) || pg_temp.of_all(1)) order by 1), '{3,a2}',
    'what becomes free in two queues is taken by two claims'
);
select is(pg_temp.of_all(1), '{}', 'and no more');
select is(pg_temp.of_all(0), '{}', 'a claim of none takes none');

-- the other lanes of a claim

select underway_test.keyed_tasks('6', 'sms', priority => 1);
select underway_test.keyed_tasks('7', 'email', priority => 1);
select underway_test.keyed_tasks('8', 'email', priority => -1);
select is(pg_temp.of_all(), '{7,8}', 'a full queue holds the others up in no priority');
select underway_test.done('2 3');
select is(underway_test.claimed(1, 'sms'), '6', 'when it has room again, the highest priority comes first');
select is(underway_test.claimed(1, 'sms'), '4', 'then the next');

-- what is claimed of one priority counts for the next, in one claim

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2', 'sms');
select underway_test.keyed_tasks('3', 'sms', priority => 1);
select is(underway_test.claimed(100, 'sms'), '3 1', 'one claim counts over all priorities of a queue');

select underway_test.no_tasks();
select underway.create_queue('sms', max_running => 0, rate_limit => 3, rate_period => '1 hour');
select underway_test.keyed_tasks('1 2 3', 'sms');
select underway_test.keyed_tasks('4 5', 'sms', priority => 1);
select is(underway_test.claimed(100, 'sms'), '4 5 1', 'and so do the tokens');
select is(underway_test.claimed(100, 'sms'), '', 'of which none is left');
select underway_test.advance_clock('20 minutes');
select is(underway_test.claimed(100, 'sms'), '2', 'until the next one comes');

-- keys and limits together

select underway_test.no_tasks();
select underway.create_queue('sms', max_running => 3);
select underway_test.keyed_tasks('a1 a2 b1 a3 b2 1 2', 'sms');
select is(underway_test.claimed(100, 'sms'), 'a1 b1 1', 'a claim keeps the limits of the queue and of its keys');
select underway_test.advance_clock('1 hour');
select underway_test.done('a1');
select is(underway_test.claimed(100, 'sms'), 'a2', 'what is parked comes first');
select underway_test.done('b1 1 a2');
select is(underway_test.claimed(2, 'sms'), 'a3 b2', 'then, too');
select is(underway_test.claimed(100, 'sms'), '', 'what has no key waits for a token like all others');
select underway_test.advance_clock('20 minutes');
select is(underway_test.claimed(100, 'sms'), '2', 'but for no key');

-- a queue that becomes one with keys

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2 3', 'email');
select is(underway_test.claimed(2, 'email'), '1 2', 'a queue has no limits before there is a key');
select underway_test.keyed_tasks('a1 a2', 'email');
select is(underway_test.claimed(100, 'email'), '3 a1', 'and then keeps them, with plain tasks beside them');
select underway_test.done('1 2 a1');
select is(underway_test.claimed(100, 'email'), 'a2', 'whatever ran before');

-- what comes with a key while somebody claims who has not seen a key yet

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 1', 'email');
delete from underway.keyed_queue;
select is(underway_test.claimed(100, 'email'), '1', 'whoever knows of no key takes no task that has one');
insert into underway.keyed_queue values ('email');
select is(underway_test.claimed(100, 'email'), 'a1', 'it is left to those who do');

-- a claim that settles others

select underway_test.keyed_tasks('a2', 'email');
select is(
    (
        select string_agg(c.input #>> '{}', ' ')
        from (select array_agg(t.id) as ids, array_agg(t.lease) as leases from underway.task t where t.input = '"a1"') b
        cross join underway.complete_and_dequeue(b.ids, b.leases, null, '{email}', 10) c
    ),
    'a2', 'whoever completes a task may claim the next of its key in the same call'
);

-- a paused queue

select underway_test.done('a2');
select underway_test.keyed_tasks('a3', 'email');
select underway.pause_queue('email');
select is(underway_test.claimed(100, 'email'), '', 'a paused queue with limits is not claimed from');
select underway.resume_queue('email');
select is(underway_test.claimed(100, 'email'), 'a3', 'until it is resumed');

-- a task of later

select underway_test.done('a3');
select underway_test.keyed_tasks('a4 a5', 'email');
update underway.task t set ready_at = t.ready_at + interval '1 hour' where t.input = '"a4"';
select is(underway_test.claimed(100, 'email'), 'a5', 'a task that is not due holds nobody of its key up');

select * from finish();
rollback;
