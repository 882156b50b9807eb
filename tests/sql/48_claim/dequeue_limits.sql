-- queues with limits beside those without

begin;
select plan(49);

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
    pg_temp.of_all(), '{1,2,5,a1,p1,p2}', 'a claim from several queues takes of each as many tasks as its limits allow'
);
select is(pg_temp.of_all(), '{}', 'nothing is claimed while the limits of all queues are reached');
select results_eq(
    $$
        select t.queue collate "default", count(*)
        from underway.task t
        where t.holds_slot
        group by 1
    $$,
    $$ values ('sms', 2::bigint) $$,
    'running tasks hold slots in the queue with max_running, and in no other'
);
select underway_test.done('1 a1');
select is(
    array(select unnest(pg_temp.of_all(1) || pg_temp.of_all(1)) order by 1), '{3,a2}',
    'slots that are freed in two queues are filled by two claims'
);
select is(pg_temp.of_all(1), '{}', 'no more tasks are claimed than slots were freed');
select is(pg_temp.of_all(0), '{}', 'a claim of 0 tasks from queues with limits takes none');

-- the other priorities of a claim

select underway_test.keyed_tasks('6', 'sms', priority => 1);
select underway_test.keyed_tasks('7', 'email', priority => 1);
select underway_test.keyed_tasks('8', 'email', priority => -1);
select is(pg_temp.of_all(), '{7,8}', 'a full queue holds up the other queues at no priority');
select underway_test.done('2 3');
select is(underway_test.claimed(1, 'sms'), '6', 'a freed slot of a queue goes to its highest priority');
select is(underway_test.claimed(1, 'sms'), '4', 'the next slot of a queue goes to its next priority');

-- tasks that a claim has taken at one priority count at the next

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2', 'sms');
select underway_test.keyed_tasks('3', 'sms', priority => 1);
select is(underway_test.claimed(100, 'sms'), '3 1', 'one claim counts its tasks of all priorities against max_running');

select underway_test.no_tasks();
select underway.create_queue('sms', max_running => 0, rate_limit => 3, rate_period => '1 hour');
select underway_test.keyed_tasks('1 2 3', 'sms');
select underway_test.keyed_tasks('4 5', 'sms', priority => 1);
select is(underway_test.claimed(100, 'sms'), '4 5 1', 'one claim takes its tokens for tasks of all priorities');
select is(underway_test.claimed(100, 'sms'), '', 'nothing is claimed from a queue without tokens');
select underway_test.advance_clock('20 minutes');
select is(underway_test.claimed(100, 'sms'), '2', 'one task is claimed with the next token of the queue');

-- keys and limits together

select underway_test.no_tasks();
select underway.create_queue('sms', max_running => 3);
select underway_test.keyed_tasks('a1 a2 b1 a3 b2 1 2', 'sms');
select is(underway_test.claimed(100, 'sms'), 'a1 b1 1', 'a claim keeps the limits of the queue and of its keys');
select underway_test.advance_clock('1 hour');
select underway_test.done('a1');
select is(
    underway_test.claimed(100, 'sms'), 'a2', 'a parked task whose key is free keeps its place before tasks that came later'
);
select underway_test.done('b1 1 a2');
select is(underway_test.claimed(2, 'sms'), 'a3 b2', 'parked tasks of two keys that are free are claimed in their order');
select is(underway_test.claimed(100, 'sms'), '', 'a task without a key waits for a token of the queue like all others');
select underway_test.advance_clock('20 minutes');
select is(underway_test.claimed(100, 'sms'), '2', 'a task without a key waits for no key');

-- a queue that gets its first keys

select underway_test.no_tasks();
select underway_test.keyed_tasks('1 2 3', 'email');
select is(underway_test.claimed(2, 'email'), '1 2', 'a queue without keys and limits is claimed from in order');
select underway_test.keyed_tasks('a1 a2', 'email');
select is(underway_test.claimed(100, 'email'), '3 a1', 'the first tasks with a key keep the limit of their key');
select underway_test.done('1 2 a1');
select is(underway_test.claimed(100, 'email'), 'a2', 'the next task of a key is claimed when the key is free');

-- the hint that a queue has keys is missing

select underway_test.no_tasks();
update underway.queue set has_keys = false where name = 'email';
insert into underway.task (queue, priority, ready_at, enqueued_at, concurrency_key, input)
select 'email', 0, underway._clock(), underway._clock(), given.key, to_jsonb(given.name)
from (values ('a', 'a1'), (null, '1'), ('a', 'a2')) given (key, name);
select is(
    underway_test.claimed(100, 'email'), '1', 'a claim that does not know of keys takes only the tasks without a key'
);
select is(
    (select q.has_keys from underway.queue q where q.name = 'email'), true,
    'a claim that meets a task with a key records that the queue has keys'
);
select is(underway_test.claimed(100, 'email'), 'a1', 'the second claim takes a task with a key and keeps the limit of the key');
select is(underway_test.parked(), 'a2', 'the second claim parks the tasks of the full key');

-- a claim that settles other tasks

select is(
    (
        select string_agg(c.input #>> '{}', ' ')
        from (select array_agg(t.id) as ids, array_agg(t.lease) as leases from underway.task t where t.input = '"a1"') b
        cross join underway.complete_and_dequeue(b.ids, b.leases, null, '{email}', 10) c
    ),
    'a2', 'a call that completes a task can claim the next task of its key'
);

-- a paused queue

select underway_test.done('a2');
select underway_test.keyed_tasks('a3', 'email');
select underway.pause_queue('email');
select is(underway_test.claimed(100, 'email'), '', 'a paused queue with keys is not claimed from');
select underway.resume_queue('email');
select is(underway_test.claimed(100, 'email'), 'a3', 'a resumed queue with keys is claimed from');

-- a delayed task

select underway_test.done('a3');
select underway_test.keyed_tasks('a4 a5', 'email');
update underway.task t set ready_at = t.ready_at + interval '1 hour' where t.input = '"a4"';
select is(underway_test.claimed(100, 'email'), 'a5', 'a task that is not due does not hold up the next task of its key');

-- each way in which a ready or running task of a key leaves lets the next one go

create function pg_temp.next_after(how text) returns text language plpgsql as $$
declare
    v_held underway_test.held;
    v_names text;
begin
    perform underway_test.no_tasks();
    perform underway.enqueue_many('email', '{"\"a1\"","\"a2\"","\"a3\""}', concurrency_key => 'a');
    if next_after.how like 'running: %' then
        v_names := underway_test.claimed(100, 'email');
        assert v_names = 'a1', v_names;
        select t.id, t.lease into strict v_held from underway.task t where t.state = 'in_progress';
    else
        v_held.id := underway_test.named('a1');
    end if;
    assert underway_test.parked() = 'a2 a3', underway_test.parked();

    case next_after.how
        when 'ready: cancel', 'running: cancel' then perform underway.cancel(v_held.id);
        when 'ready: reschedule' then perform underway.reschedule(v_held.id, '2031-01-01');
        when 'running: complete' then perform underway.complete(v_held.id, v_held.lease);
        when 'running: fail' then perform underway.fail(v_held.id, v_held.lease, '"x"', retry_after => '1 hour');
        when 'running: fatal fail' then perform underway.fail(v_held.id, v_held.lease, '"x"', retryable => false);
        when 'running: snooze' then perform underway.snooze(v_held.id, v_held.lease, '1 hour');
        when 'running: lapse' then
            perform underway_test.advance_clock('1 minute');
            perform underway._reclaim();
        when 'ready: replace' then
            update underway.task t set unique_key = 'u' where t.id = v_held.id;
            perform underway.enqueue('email', '"b1"', unique_key => 'u', concurrency_key => 'b', on_conflict => 'replace');
    end case;
    return underway_test.claimed(100, 'email');
end;
$$;

select is(pg_temp.next_after(given.how), given.claimed, format('the next task of a key is claimed after: %s', given.how))
from (values
    ('ready: cancel', 'a2'), ('ready: reschedule', 'a2'), ('ready: replace', 'b1 a2'), ('running: complete', 'a2'),
    ('running: cancel', 'a2'), ('running: fail', 'a2'), ('running: fatal fail', 'a2'), ('running: snooze', 'a2'),
    ('running: lapse', 'a2')
) given (how, claimed);

-- a task of a key that comes back

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2', 'email');
select is(underway_test.claimed(100, 'email'), 'a1', 'the first task of a key is claimed');
select underway.release(t.id, t.lease) from underway.task t where t.state = 'in_progress';
select is(underway_test.claimed(100, 'email'), 'a1', 'a released task of a key is claimed again before the next one');
select underway.fail(t.id, t.lease, '"x"', retryable => false) from underway.task t where t.state = 'in_progress';
select is(underway_test.claimed(100, 'email'), 'a2', 'the next task of a key is claimed after the first has failed');
select underway.retry(h.id) from underway.task_history h where h.input = '"a1"' and h.state = 'failed';
select is(underway_test.claimed(100, 'email'), '', 'a retried task is not claimed while its key is full');
select underway_test.done('a2');
select is(underway_test.claimed(100, 'email'), 'a1', 'a retried task is claimed when its key is free');

-- a long backlog of one key

select underway_test.no_tasks();
select underway.create_queue('email', max_running_per_key => 2);
select underway.enqueue_many(
    'email', array(select to_jsonb('a' || number) from generate_series(1, 5000) number), concurrency_key => 'a'
);
select underway_test.keyed_tasks('b1', 'email');
select is(underway_test.ready(), 'a1 a2 b1', 'of 5,000 tasks of one key max_running_per_key start ready');
select is(underway_test.claimed(3, 'email'), 'a1 a2 b1', 'the first claim finds another key behind a backlog of 5,000 tasks');
select underway_test.done('a1 a2 b1');
select is(underway_test.claimed(3, 'email'), 'a3 a4', 'as many tasks of the backlog become ready as slots were freed');

-- ready tasks of a full key that were enqueued one by one

select underway_test.no_tasks();
select underway_test.keyed_tasks(string_agg('a' || number, ' ' order by number), 'email') from generate_series(1, 1200) number;
select underway_test.keyed_tasks('b1', 'email');
select is(underway_test.claimed(3, 'email'), 'a1 a2', 'a claim reads at most ten pages of ready tasks of a full key');
select is(
    (select count(*) from underway.task where parked), 1023::bigint, 'a claim parks all tasks of a full key that it has read'
);
select is(underway_test.claimed(3, 'email'), 'b1', 'the second claim reads on, to the task of another key');

select * from finish();
rollback;
