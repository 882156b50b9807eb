-- next_wakeup: how long a worker of these queues may sleep. A sleeping worker calls it to look for work.
--
-- Writes: nothing.
-- Calls: _capacity_at, _clock, _queues_with_tasks, _start_of_line.

create or replace function underway.next_wakeup(queues text[], at_most interval default '1 second')
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now      timestamptz := underway._clock();
    v_queues   text[] := next_wakeup.queues;
    v_ready_at timestamptz;
    v_check_at timestamptz;
begin
    if cardinality(v_queues) > 50 then
        v_queues := underway._queues_with_tasks(v_queues, 'infinity');
    end if;

    select min(greatest(
        head.ready_at,
        case when q.max_running is not null or q.rate_limit is not null or q.fair or q.has_keys then
            underway._capacity_at(q::underway.queue, v_now)
        end
    ))
    into v_ready_at
    from unnest(v_queues) as served (name)
    -- The limit and the offset keep this order of look-ups, whatever the statistics say.
    cross join lateral (select * from underway.queue one where one.name = served.name limit 1) q
    cross join lateral (select one.priority from underway.queue_priority one where one.queue = served.name offset 0) p
    cross join lateral underway._start_of_line(served.name, p.priority, v_now) start (at)
    cross join lateral (
        select t.ready_at
        from underway.task t
        where t.queue = served.name
          and t.priority = p.priority
          and t.state = 'pending'
          and not t.parked
          and t.ready_at >= start.at
        order by t.ready_at, t.id
        limit 1
    ) head
    where q.paused_at is null;

    -- Parked tasks of a key may run when it has a token again.
    select least(v_ready_at, min(greatest(underway._capacity_at(q, v_now), next.check_at)))
    into v_ready_at
    from underway.queue q
    cross join lateral (select min(r.check_at) as check_at from underway.ready_key r where r.queue = q.name) next
    where q.name = any (v_queues)
      and q.rate_limit_per_key is not null
      and q.paused_at is null;

    -- A worker wakes for schedules too, so that their tasks are enqueued on time. One that is due may be locked by a
    -- session that changes it, so nobody looks again without a pause.
    select min(s.check_at) into v_check_at from underway.schedule s where s.check_at is not null;
    v_check_at := case when v_check_at <= v_now then v_now + interval '50 milliseconds' else v_check_at end;

    -- By default never longer than a second: a notification is a hint, and a lost one costs no more than that.
    return greatest(interval '0', least(nullif(v_ready_at, 'infinity') - v_now, v_check_at - v_now, next_wakeup.at_most));
end;
$$;

comment on function underway.next_wakeup(text[], interval) is
    'How long a worker of these queues may sleep: zero when a task is due, next to nothing when a schedule is, at most'
    ' at_most.';
