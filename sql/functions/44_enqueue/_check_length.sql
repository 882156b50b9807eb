-- _check_length: refuse tasks that would make a queue longer than its max_length: its pending tasks, parked or not.
--
-- What it promises: the tasks that it sees, and those that are added, are no more than max_length. Transactions that run
-- at the same time do not see each other's tasks, so that each of them may pass, and the queue may be longer by what
-- they add. It is back-pressure and not an exact bound: nobody waits for anybody, and no row counts.
--
-- Writes: nothing.
-- Raises: UW011 queue_full.

create or replace function underway._check_length(queue text, added integer, inserted boolean default false)
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
    v_limit  integer;
    v_enough bigint;
    v_length bigint;
begin
    select q.max_length into v_limit from underway.queue q where q.name = _check_length.queue;
    if v_limit is null or _check_length.added = 0 then
        return;
    end if;

    -- No more is counted than has to be known, and nothing below the floors, where there may be any number of entries
    -- of tasks that are gone.
    v_enough := v_limit::bigint + 1 + case when _check_length.inserted then _check_length.added else 0 end;

    select count(*)
    into v_length
    from (
        select
        from (select distinct l.priority from underway.queue_priority l where l.queue = _check_length.queue) lane
        left join lateral underway._watermark(_check_length.queue, lane.priority) w on true
        cross join lateral (
            select
            from underway.task t
            where t.queue = _check_length.queue
              and t.priority = lane.priority
              and t.ready_at >= coalesce(w.ready_at, '-infinity')
              and t.state = 'pending'
              and not t.parked
            limit v_enough
        ) pending
        union all
        (select from underway.task t where t.queue = _check_length.queue and not t.holds_slot and t.concurrency_key is not null and t.parked limit v_enough)
        limit v_enough
    ) counted;

    if _check_length.inserted then
        v_length := v_length - _check_length.added;
    end if;

    if v_length + _check_length.added > v_limit then
        raise exception using
            errcode = 'UW011',
            message = format(
                'queue %L is full: %s tasks wait there, and with %s more there were more than its max_length of %s',
                _check_length.queue, v_length, _check_length.added, v_limit
            ),
            hint = 'Try again when its workers have caught up, or give it a greater max_length.';
    end if;
end;
$$;

comment on function underway._check_length(text, integer, boolean) is
    'Refuse tasks that are added to a queue, or have just been inserted, when it is longer than its max_length by them.';
