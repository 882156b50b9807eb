-- the task of a schedule for one of its times

begin;
select plan(9);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.schedule('bare', 'email', '0 * * * *');
select underway.schedule(
    'full', 'email', '0 * * * *', 'Europe/Berlin', '{"to": "all"}', 'send_mail', 7, '1 hour',
    underway.retry_policy(max_attempts => 9, jitter => 0), '2 minutes', '20 seconds', '5 days',
    '{"trace": "1-2", "schedule": "mine", "scheduled_at": "never"}'
);

create function pg_temp.enqueue(
    schedule text,
    scheduled_at timestamptz default '2030-01-01 11:59:00+00',
    run_at timestamptz default '2030-01-01 11:59:00+00'
)
returns underway.task
language plpgsql
as $$
declare
    v_id   bigint;
    v_task underway.task;
begin
    select underway._enqueue_scheduled(s, enqueue.scheduled_at, enqueue.run_at) into v_id
    from underway.schedule s
    where s.name = enqueue.schedule;
    select t.* into v_task from underway.task t where t.id = v_id;
    return v_task;
end;
$$;

-- the columns of the task

select is(
    (select jsonb_strip_nulls(to_jsonb(t) - 'id') from pg_temp.enqueue('bare') t),
    jsonb_build_object(
        'queue', 'email', 'input', '{}'::jsonb, 'state', 'pending', 'priority', 0, 'attempt', 0,
        'ready_at', '2030-01-01 12:00:00+00'::timestamptz, 'enqueued_at', '2030-01-01 12:00:00+00'::timestamptz,
        'watched', false, 'in_batch', false, 'parked', false, 'holds_slot', false,
        'headers', '{"schedule": "bare", "scheduled_at": "2030-01-01T11:59:00Z"}'::jsonb
    ),
    'a schedule without options gives a task whose headers hold the schedule and the time'
);

select results_eq(
    $$
        select t.queue collate "default", t.job, t.input, t.priority, t.retry_policy::text, t.timeout, t.heartbeat,
            t.retention, t.expires_at
        from pg_temp.enqueue('full') t
    $$,
    $$ values (
        'email', 'send_mail', '{"to": "all"}'::jsonb, 7, '(9,00:00:01,00:01:00,2,0)', interval '2 minutes',
        interval '20 seconds', interval '5 days',
        '2030-01-01 13:00:00+00'::timestamptz
    ) $$,
    'a task has all options of its schedule'
);

select is(
    (pg_temp.enqueue('full')).headers,
    '{"trace": "1-2", "schedule": "full", "scheduled_at": "2030-01-01T11:59:00Z"}',
    'the headers of the schedule are kept, except for schedule and scheduled_at'
);

-- when it is ready

select is(
    (pg_temp.enqueue('bare', run_at => '2030-01-01 12:03:00+00')).ready_at, '2030-01-01 12:03:00+00',
    'a task is ready at run_at'
);

-- the time in the header

select is(
    (pg_temp.enqueue('bare', '2030-12-31 23:30:00-10')).headers ->> 'scheduled_at', '2031-01-01T09:30:00Z',
    'scheduled_at is in UTC'
);

select set_config('timezone', 'Pacific/Chatham', true), set_config('datestyle', 'German', true);

select is(
    (pg_temp.enqueue('bare', '2030-07-01 12:00:00+00')).headers ->> 'scheduled_at', '2030-07-01T12:00:00Z',
    'scheduled_at does not depend on the time zone and the date style of the session'
);

-- refusals

select underway.drop_queue('email', force => true);

select throws_ok(
    $$ select pg_temp.enqueue('bare') $$, 'UW003', 'queue ''email'' does not exist',
    'a queue that was dropped is refused'
);

select underway.create_queue('email');
update underway.setting set max_input_size = 4;

select throws_ok(
    $$ select pg_temp.enqueue('full') $$, 'UW007', null,
    'an input that exceeds a limit that was lowered is refused'
);

select is_empty('select from underway.task', 'a refused task is not stored');

select * from finish();
rollback;
