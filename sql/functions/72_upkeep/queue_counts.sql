-- queue_counts: how many live tasks each queue has, up to a bound: as maintain() has counted them lately, or else counted now.
--
-- Writes: nothing.
-- Calls: _clock, _count_tasks.

create or replace function underway.queue_counts()
returns setof underway.queue_count
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now  timestamptz := underway._clock();
    v_last underway.last_count;
begin
    select c.* into v_last
    from underway.last_count c
    where c.counted_at <= v_now
    order by c.counted_at desc
    limit 1;

    if (v_last.valid_until > v_now) is not true then
        return query select c.* from underway._count_tasks(leases_from => '-infinity') c;
        return;
    end if;

    return query
    select
        q.name::text, coalesce(c.ready, 0), coalesce(c.scheduled, 0), coalesce(c.in_progress, 0), coalesce(c.waiting, 0),
        coalesce(c.parked, 0), coalesce(c.expired, 0), coalesce(c.dead_letters, 0), c.oldest_ready_at, c.oldest_parked_at,
        coalesce(c.capped, false), v_last.counted_at
    from underway.queue q
    left join unnest(v_last.counts) c on c.queue = q.name;
end;
$$;

comment on function underway.queue_counts() is
    'How many live tasks each queue has, by state. At most 10,000 ready, scheduled and parked tasks of a queue are'
    ' counted, and at most as many waiting tasks, expired tasks and dead letters of all queues together; capped is'
    ' true where there may be more. They are counted now, unless the table of live tasks has more than 20,000 rows,'
    ' those included that vacuum has not removed yet: then maintain() counts, about once a second, and counted_at says'
    ' when.';
