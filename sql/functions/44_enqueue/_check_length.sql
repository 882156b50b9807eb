-- _check_length: refuse tasks that would make a queue longer than its max_length. Its length is the number of its pending
-- tasks, due or not, parked or not.
--
-- Problem: to count a hundred thousand pending tasks for each new one costs more than the rest of the enqueue; a counter
-- would be a row that every enqueue and every claim waits for.
-- Idea: a counted length is recorded together with the id that was the next to be given out. Since then the queue has got
-- at most as many tasks as ids were given out, to any queue. While the recorded length and those ids stay within
-- max_length, nothing is counted; so a count is needed once for every so many ids as there was room.
-- Invariant: a refusal is always based on a count, so no task is refused while this transaction sees room for it.
--
-- It is back-pressure and not an exact bound. Transactions that run at the same time do not see each other's tasks, and
-- tasks that become pending again (a retry, a release, a redrive) have old ids: the queue may be longer by those.
--
-- Writes: queue_length.
-- Calls: _watermark.
-- Raises: UW011 queue_full.

create or replace function underway._count_pending(queue text, max_count bigint)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    -- Nothing below the watermarks, where the index may have any number of entries of tasks that have ended.
    return (
        select count(*)
        from (
            select
            from (
                select distinct l.priority from underway.queue_priority l where l.queue = _count_pending.queue
            ) used
            left join lateral underway._watermark(_count_pending.queue, used.priority) w on true
            cross join lateral (
                select
                from underway.task t
                where t.queue = _count_pending.queue
                  and t.priority = used.priority
                  and t.ready_at >= coalesce(w.ready_at, '-infinity')
                  and t.state = 'pending'
                  and not t.parked
                limit _count_pending.max_count
            ) pending
            union all
            (
                select
                from underway.task t
                where t.queue = _count_pending.queue
                  and not t.holds_slot
                  and t.concurrency_key is not null
                  and t.parked
                limit _count_pending.max_count
            )
            limit _count_pending.max_count
        ) counted
    );
end;
$$;

comment on function underway._count_pending(text, bigint) is
    'The number of pending tasks of a queue, parked or not; max_count when there are that many or more.';

create or replace function underway._check_length(
    queue text,
    first_id bigint, -- the lowest id that was given out for the new tasks
    added integer,
    inserted boolean default false -- whether the new tasks are in the table already
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_max_length integer;
    v_at_most    bigint;
    v_inserted   integer := case when _check_length.inserted then _check_length.added else 0 end;
    v_length     bigint;
begin
    select q.max_length, last.length + _check_length.first_id - last.next_id
    into v_max_length, v_at_most
    from underway.queue q
    left join lateral (
        select c.length, c.next_id
        from underway.queue_length c
        where c.queue = q.name
          and c.next_id <= _check_length.first_id -- always, unless the sequence of ids was put back
        order by c.next_id desc
        limit 1
    ) last on true
    where q.name = _check_length.queue;

    if v_max_length is null or _check_length.added = 0 or v_at_most + _check_length.added <= v_max_length then
        return;
    end if;

    v_length := underway._count_pending(_check_length.queue, v_max_length::bigint + v_inserted + 1) - v_inserted;

    if v_length + _check_length.added > v_max_length then
        raise exception using
            errcode = 'UW011',
            message = format(
                'queue %L is full: %s tasks pending, %s more would exceed max_length %s',
                _check_length.queue, v_length, _check_length.added, v_max_length
            ),
            hint = 'Try again when workers have caught up, or increase max_length.';
    end if;

    -- A short queue is counted faster than its length is recorded. An old snapshot counts what was there long ago.
    if v_length >= 100 and current_setting('transaction_isolation') = 'read committed' then
        insert into underway.queue_length (queue, length, next_id)
        values (_check_length.queue, v_length, _check_length.first_id);

        delete from underway.queue_length c
        where c.ctid = any (array(
            select earlier.ctid
            from underway.queue_length earlier
            where earlier.queue = _check_length.queue
              and earlier.next_id < _check_length.first_id
            for update skip locked
        ));
    end if;
end;
$$;

comment on function underway._check_length(text, bigint, integer, boolean) is
    'Refuse tasks that are to be added to a queue, or were just inserted, if they make it longer than its max_length.';
