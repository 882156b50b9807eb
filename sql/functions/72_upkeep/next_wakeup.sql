-- next_wakeup: how long a worker of these queues may sleep. This is also the look that a sleeping worker takes.
--
-- Writes: nothing.

create or replace function underway.next_wakeup(queues text[])
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_ready_at timestamptz;
    v_look_at  timestamptz;
begin
    select min(greatest(
        case when head.ready_at <= f.ready_at then v_now else head.ready_at end,
        case when x.limited then underway._open_at(q, v_now) end
    ))
    into v_ready_at
    from underway.queue_priority l
    join underway.queue q on q.name = l.queue
    cross join lateral (
        select passed.ready_at
        from underway.watermark passed
        where passed.queue = l.queue
          and passed.priority = l.priority
        order by passed.noted_by desc
        limit 1
    ) f
    cross join lateral (
        select t.ready_at
        from underway.task t
        where t.queue = l.queue
          and t.priority = l.priority
          and t.state = 'pending'
          and not t.parked
          and t.ready_at >= f.ready_at
        order by t.ready_at, t.id
        limit 1
    ) head
    cross join lateral (
        select q.max_running is not null or q.rate_limit is not null or q.fair or exists (
            select from underway.keyed_queue k where k.queue = q.name
        ) as limited
    ) x
    where l.queue = any (next_wakeup.queues)
      and q.paused_at is null;

    -- What is parked may run where a key has become free.
    select least(v_ready_at, min(greatest(underway._open_at(q, v_now), note.check_at)))
    into v_ready_at
    from underway.queue q
    cross join lateral (
        select f.check_at
        from underway.ready_key f
        where f.queue = q.name
        order by f.check_at
        limit 1
    ) note
    where q.name = any (next_wakeup.queues)
      and q.paused_at is null;

    -- Whoever sleeps wakes for the schedules too, so that their tasks are there on time. One that is due already may be
    -- held by somebody who edits it: for that nobody looks without a rest.
    select min(s.check_at) into v_look_at from underway.schedule s where s.check_at is not null;
    v_look_at := case when v_look_at <= v_now then v_now + interval '50 milliseconds' else v_look_at end;

    -- Never longer than a second: a notification is a hint, and one that is lost costs no more than that.
    return greatest(interval '0', least(nullif(v_ready_at, 'infinity') - v_now, v_look_at - v_now, interval '1 second'));
end;
$$;

comment on function underway.next_wakeup(text[]) is
    'How long a worker of these queues may sleep: zero when a task is due, next to nothing when a schedule is, at most a'
    ' second.';
