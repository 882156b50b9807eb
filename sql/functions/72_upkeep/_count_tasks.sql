-- _count_tasks: count the live tasks of each queue through the indexes, up to a bound.
--
-- Ready and scheduled tasks are counted from the watermark on, where claims begin too, so the dead index entries of tasks that
-- were claimed earlier are not read. Running tasks have no watermark: under a long snapshot, their index keeps the dead entries
-- of all leases that were ever held, and only those since `leases_from` are read.
--
-- Writes: nothing.
-- Calls: _clock, _start_of_line.

create or replace function underway._count_tasks(leases_from timestamptz)
returns setof underway.queue_count
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now         timestamptz := underway._clock();
    v_max_count   constant integer := 10000;
    v_has_expired boolean := (
        select true
        from underway.task t
        where t.expires_at <= v_now
          and t.state in ('pending', 'waiting')
        limit 1
    );
begin
    return query
    with running as materialized (
        select t.queue, count(*) as tasks
        from underway.task t
        where t.lease_expires_at >= _count_tasks.leases_from
        group by t.queue
    ),
    waiting as materialized (
        select one.queue, count(*) as tasks
        from (
            select t.queue, t.expires_at
            from underway.dependent d
            cross join lateral (
                select w.queue, w.expires_at, w.state from underway.task w where w.id = d.task limit 1
            ) t
            where t.state = 'waiting'
              and (t.expires_at <= v_now) is not true
            limit v_max_count
        ) one
        group by one.queue
    ),
    expired as materialized (
        select one.queue, count(*) as tasks
        from (
            select t.queue
            from underway.task t
            where t.expires_at <= v_now
              and t.state in ('pending', 'waiting')
            limit v_max_count
        ) one
        group by one.queue
    ),
    letter as materialized (
        select one.queue, count(*) as tasks
        from (
            select t.queue from underway.task t where (t.dead_letter ->> 'task')::bigint > 0 and t.dead_letter is not null
            limit v_max_count
        ) one
        group by one.queue
    ),
    line as (
        select
            q.name as queue, p.ready, p.scheduled, k.read as keyed, k.parked, k.scheduled as parked_scheduled,
            p.oldest_ready_at, k.oldest_parked_at
        from underway.queue q
        cross join lateral (
            select
                sum(n.ready)::bigint as ready, sum(n.scheduled)::bigint as scheduled, min(n.oldest_ready_at) as oldest_ready_at
            from (
                select distinct one.priority from underway.queue_priority one where one.queue = q.name
            ) used
            cross join lateral underway._start_of_line(q.name, used.priority, v_now) start (at)
            cross join lateral (
                select
                    case
                        -- Without expired tasks the index alone tells.
                        when v_has_expired is null then (
                            select count(*)
                            from (
                                select
                                from underway.task t
                                where t.queue = q.name
                                  and t.priority = used.priority
                                  and t.state = 'pending'
                                  and not t.parked
                                  and t.ready_at between start.at and v_now
                                limit v_max_count
                            ) r
                        )
                        else (
                            select count(*)
                            from (
                                select
                                from underway.task t
                                where t.queue = q.name
                                  and t.priority = used.priority
                                  and t.state = 'pending'
                                  and not t.parked
                                  and t.ready_at between start.at and v_now
                                  and (t.expires_at <= v_now) is not true
                                limit v_max_count
                            ) r
                        )
                    end as ready,
                    (
                        select count(*)
                        from (
                            select
                            from underway.task t
                            where t.queue = q.name
                              and t.priority = used.priority
                              and t.state = 'pending'
                              and not t.parked
                              and t.ready_at > v_now
                            limit v_max_count
                        ) r
                    ) as scheduled,
                    (
                        select t.ready_at
                        from underway.task t
                        where t.queue = q.name
                          and t.priority = used.priority
                          and t.state = 'pending'
                          and not t.parked
                          and t.ready_at between start.at and v_now
                          and (v_has_expired is null or (t.expires_at <= v_now) is not true)
                        order by t.ready_at, t.id
                        limit 1
                    ) as oldest_ready_at
            ) n
        ) p
        cross join lateral (
            select
                count(*) as read,
                count(*) filter (where one.ready_at <= v_now and (one.expires_at <= v_now) is not true) as parked,
                count(*) filter (where one.ready_at > v_now) as scheduled,
                min(one.ready_at) filter (
                    where one.ready_at <= v_now and (one.expires_at <= v_now) is not true
                ) as oldest_parked_at
            from (
                select t.ready_at, t.expires_at
                from underway.task t
                where q.has_keys
                  and t.queue = q.name
                  and not t.holds_slot
                  and t.parked
                  and (t.concurrency_key is not null or t.holds_slot)
                limit v_max_count
            ) one
        ) k
    )
    select
        l.queue::text,
        least(coalesce(l.ready, 0), v_max_count),
        least(coalesce(l.scheduled, 0) + l.parked_scheduled, v_max_count),
        coalesce(r.tasks, 0), coalesce(w.tasks, 0), l.parked, coalesce(e.tasks, 0), coalesce(d.tasks, 0),
        l.oldest_ready_at, l.oldest_parked_at,
        coalesce(l.ready, 0) >= v_max_count or coalesce(l.scheduled, 0) + l.parked_scheduled >= v_max_count
            or l.keyed >= v_max_count
            or (coalesce(w.tasks, 0) > 0 and (select sum(m.tasks) from waiting m) >= v_max_count)
            or (coalesce(e.tasks, 0) > 0 and (select sum(m.tasks) from expired m) >= v_max_count)
            or (coalesce(d.tasks, 0) > 0 and (select sum(m.tasks) from letter m) >= v_max_count),
        v_now
    from line l
    left join running r on r.queue = l.queue
    left join waiting w on w.queue = l.queue
    left join expired e on e.queue = l.queue
    left join letter d on d.queue = l.queue;
end;
$$;

comment on function underway._count_tasks(timestamptz) is
    'The rows of queue_counts, counted now. Running tasks whose lease lapsed before `leases_from` are not counted.';
