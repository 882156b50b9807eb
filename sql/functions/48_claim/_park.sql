-- _park: tasks that no claim may take now go out of the way of the others, to be taken when their key is free.
--
-- Writes: task, parked.

create or replace function underway._park(
    lane underway.queue_priority,
    queue underway.queue,
    blocked tid[],
    until timestamptz,
    now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_full   text[] := array(
        select k.key
        from (
            select distinct coalesce(t.concurrency_key, '') as key from underway.task t where t.ctid = any (_park.blocked)
        ) k
        where underway._key_turns(_park.lane, _park.queue, k.key, _park.now) = 0
    );
    v_parked text[];
begin
    -- A case, which no index takes for its own.
    with gone as (
        update underway.task t
        set parked = true
        where t.ctid = any (array(
            select seen.ctid
            from underway.task seen
            where seen.ctid = any (_park.blocked)
              and case
                  when seen.state = 'pending' and not seen.parked and seen.ready_at <= _park.until
                      then seen.queue = (_park.queue).name and coalesce(seen.concurrency_key, '') = any (v_full)
              end
            for no key update skip locked
        ))
        returning t.queue, t.concurrency_key, t.priority, t.ready_at, t.id
    ),
    kept as (
        insert into underway.parked (queue, concurrency_key, priority, ready_at, task)
        select g.queue, coalesce(g.concurrency_key, ''), g.priority, g.ready_at, g.id
        from gone g
        returning concurrency_key
    )
    select array_agg(distinct k.concurrency_key order by k.concurrency_key) into v_parked from kept k;

    if (_park.queue).fair then
        perform underway._note_free((_park.queue).name, v_parked);
    end if;

    if (_park.queue).rate_limit_per_key is not null then
        perform underway._note_tokens(_park.queue, v_full, _park.now);
    end if;
end;
$$;

comment on function underway._park(underway.queue_priority, underway.queue, tid[], timestamptz, timestamptz) is
    'Park those of these rows that were ready until then and whose key has no turn left; in a fair queue all of them.';
