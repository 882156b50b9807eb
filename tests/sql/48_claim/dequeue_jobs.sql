-- the settings of jobs: of the task, of its job, of its queue

begin;
select plan(16);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue(
    'email', timeout => '15 minutes', heartbeat => '30 seconds', retry_policy => underway.retry_policy(5), retention => '14 days'
);

-- the settings of the attempt of a task that is claimed now
create function pg_temp.claim(job text default 'send_mail', timeout interval default null, queue text default 'email')
returns text language plpgsql as $$
declare
    v_task   underway.claimed_task;
begin
    perform underway.enqueue(claim.queue, job => claim.job, timeout => claim.timeout);
    select * into v_task from underway.dequeue(claim.queue);
    return format('%s %s %s', v_task.timeout, v_task.heartbeat, v_task.max_attempts);
end;
$$;

select is(pg_temp.claim(), '00:15:00 00:00:30 5', 'without a job in the database the settings of the queue apply');
select underway.register_job('send_mail', 'email');
select is(pg_temp.claim(), '00:15:00 00:00:30 5', 'so they do where the job has none');
select underway.register_job('send_mail', 'email', timeout => '1 minute');
select is(pg_temp.claim(), '00:01:00 00:00:30 5', 'a timeout is that of the job');
select underway.register_job('send_mail', 'email', heartbeat => '10 seconds');
select is(pg_temp.claim(), '00:15:00 00:00:10 5', 'so is a heartbeat');
select is(
    (select max(lease_expires_at) - underway._clock() from underway.task where job = 'send_mail' and heartbeat is null)
        >= interval '10 seconds', true, 'the lease lasts for the heartbeat of the job'
);
select is(
    (select min(lease_expires_at) - underway._clock() from underway.task), interval '10 seconds',
    'and no longer'
);
select underway.register_job('send_mail', 'email', retry_policy => underway.retry_policy(9));
select is(pg_temp.claim(), '00:15:00 00:00:30 9', 'so is the number of attempts');
select is(pg_temp.claim(timeout => '2 minutes'), '00:02:00 00:00:30 9', 'a setting of the task comes first');
select underway.register_job('send_mail', 'email', timeout => '1 minute', heartbeat => '10 seconds');
select is(pg_temp.claim(timeout => '2 minutes'), '00:02:00 00:00:10 5', 'the other settings are those of the job');
select is(pg_temp.claim('other'), '00:15:00 00:00:30 5', 'another job has its own settings');
select is(pg_temp.claim(null), '00:15:00 00:00:30 5', 'a task without a job has those of the queue');

-- the backlog

select underway.enqueue('email', job => 'send_mail') from generate_series(1, 3);
select underway.register_job('send_mail', 'email', timeout => '7 minutes');
select is(
    (select count(*) from underway.dequeue('email', 10) where timeout = '7 minutes'), 3::bigint,
    'a changed job applies to its backlog'
);

-- several jobs in one claim, and limits

select underway.register_job('b', 'email', timeout => '8 minutes');
select underway.create_queue('limited', max_running => 10);
select underway.enqueue(queue, job => job)
from unnest('{email,limited}'::text[]) as queue cross join unnest('{send_mail,b,c}'::text[]) as job;
select results_eq(
    format($$ select job, timeout from underway.dequeue(%L, 10) $$, queue),
    $$ values ('send_mail', interval '7 minutes'), ('b', '8 minutes'), ('c', '15 minutes') $$,
    format('each task of a claim from queue %s has the settings of its job', queue)
)
from unnest('{email,limited}'::text[]) as queue;

select underway.unregister_job('send_mail');
select is(pg_temp.claim(), '00:15:00 00:00:30 5', 'a job that was unregistered has no settings any more');
select is(
    (select array_agg(i.max_attempts) from underway.task t, underway.task_info(t.id) i where t.job = 'b'), '{5,5}'::integer[],
    'task_info shows the number of attempts'
);

select * from finish();
rollback;
