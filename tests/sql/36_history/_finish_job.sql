-- how long a finished task is kept: the retention of the task, of its job, of its queue

begin;
select plan(8);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', retention => '14 days');
select underway.create_queue('brief', keep_history => false);

-- kept: for how long a task is kept that finishes now
create function pg_temp.kept(
    job text default 'send_mail', retention interval default null, queue text default 'email'
)
returns interval language plpgsql as $$
declare
    v_id bigint := underway.enqueue(kept.queue, job => kept.job, retention => kept.retention);
begin
    perform underway.complete(c.id, c.lease) from underway.dequeue(kept.queue) c;
    return (select h.kept_until - h.finished_at from underway.task_history h where h.id = v_id);
end;
$$;

select is(pg_temp.kept(), interval '14 days', 'without a job a task is kept for the retention of its queue');
select underway.register_job('send_mail', 'email', retention => '40 days');
select is(pg_temp.kept(), interval '40 days', 'the retention of a job comes before that of its queue');
select is(
    (select array_agg(kept_slot order by id) from underway.task_history),
    array[underway._history_slot('2030-01-15 12:00:00+00', underway._clock()), 32]::smallint[],
    'a task is in the partition of its retention'
);
select is((select count(retention) from underway.task_history), 0::bigint, 'the task itself has none');
select is(pg_temp.kept(retention => '2 days'), interval '2 days', 'the retention of a task comes before both');
select is(pg_temp.kept('other'), interval '14 days', 'another job has its own retention');
select is(pg_temp.kept(null), interval '14 days', 'so does a task without a job');
select is(pg_temp.kept(queue => 'brief'), interval '40 days', 'the retention of a job applies in a queue without history too');

select * from finish();
rollback;
