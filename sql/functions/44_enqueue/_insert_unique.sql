-- _insert_unique: insert a task if its unique key is free; otherwise do as on_conflict says with the task that holds the key.
--
--   -> pending
--
-- Problem: of two transactions that enqueue the same key at once only one may insert; if it rolls back, the other must.
-- Idea: look for a holder without a lock, so that a conflict neither waits nor makes others wait. If there is none,
-- insert; the index task_unique makes this insert wait for a transaction that is just inserting the same key. If that one
-- commits, or the holder that was found has ended meanwhile, look again. The primary key of unique_reservation decides in
-- the same way for keys that outlast their tasks (unique_for).
-- Invariant: at most one live task holds a key, and none is inserted while a reservation of another task is in force.
--
-- Writes: task, unique_reservation.
-- Calls: _earliest_ready_at, _expire, _raise_unique_conflict, _release_slots.
-- Raises: UW010 unique_conflict.

create or replace function underway._insert_unique(
    id bigint,
    queue text,
    unique_key text,
    input jsonb,
    wanted_at timestamptz,
    options underway.task_options,
    now timestamptz
)
returns underway.enqueued_task
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_live         bigint;
    v_state        underway.task_state;
    v_key          text;
    v_reserved     bigint;
    v_ended_holder bigint;
    v_expired      boolean;
begin
    loop
        select t.id, t.state, t.concurrency_key, h.task, t.expires_at <= _insert_unique.now and t.state <> 'in_progress'
        into v_live, v_state, v_key, v_reserved, v_expired
        from (values (true)) as one
        left join underway.task t on t.queue = _insert_unique.queue and t.unique_key = _insert_unique.unique_key
        left join underway.unique_reservation h
            on h.queue = _insert_unique.queue
           and h.unique_key = _insert_unique.unique_key
           and h.expires_at > _insert_unique.now;

        -- An expired task does not hold its key, so that the new one is not lost with it.
        if v_expired then
            perform from underway.task t where t.id = v_live for update;
            perform underway._expire(array[v_live], _insert_unique.now);
            continue;
        end if;

        -- A task that has failed or was cancelled does not hold its key any more, whatever its unique_for.
        v_ended_holder := null;
        if v_live is null and v_reserved is not null then
            select h.id
            into v_ended_holder
            from underway.task_history h
            where h.id = v_reserved
              and h.state in ('failed', 'cancelled');
        end if;

        if v_live is null and v_reserved is not distinct from v_ended_holder then
            insert into underway.task (
                id, queue, unique_key, input, ready_at, enqueued_at, job, priority, retry_policy, timeout, heartbeat,
                retention, headers, concurrency_key, unique_until_start, expires_at
            )
            values (
                _insert_unique.id, _insert_unique.queue, _insert_unique.unique_key, _insert_unique.input,
                greatest(_insert_unique.wanted_at, underway._earliest_ready_at(
                    _insert_unique.queue, _insert_unique.options.priority
                )),
                _insert_unique.now, _insert_unique.options.job, _insert_unique.options.priority,
                _insert_unique.options.retry_policy, _insert_unique.options.timeout, _insert_unique.options.heartbeat,
                _insert_unique.options.retention, _insert_unique.options.headers, _insert_unique.options.concurrency_key,
                nullif(_insert_unique.options.unique_until = 'start', false), _insert_unique.options.expires_at
            )
            on conflict (queue, unique_key) where unique_key is not null do nothing;

            if found then
                -- Another task may have been inserted and have ended since the look above, and its reservation be in force.
                if _insert_unique.options.unique_for is not null and _insert_unique.unique_key is not null then
                    insert into underway.unique_reservation as h (queue, unique_key, task, expires_at)
                    values (
                        _insert_unique.queue, _insert_unique.unique_key, _insert_unique.id,
                        _insert_unique.now + _insert_unique.options.unique_for
                    )
                    on conflict (queue, unique_key) do update
                    set task = excluded.task, expires_at = excluded.expires_at
                    where h.expires_at <= _insert_unique.now or h.task = v_ended_holder;
                else
                    perform
                    where not exists (
                        select
                        from underway.unique_reservation h
                        where h.queue = _insert_unique.queue
                          and h.unique_key = _insert_unique.unique_key
                          and h.expires_at > _insert_unique.now
                          and h.task is distinct from v_ended_holder
                    );
                end if;

                if found then
                    return row(_insert_unique.id, true, false);
                end if;

                delete from underway.task t where t.id = _insert_unique.id;
            end if;
        elsif _insert_unique.options.on_conflict = 'error' then
            perform underway._raise_unique_conflict(
                _insert_unique.queue, _insert_unique.unique_key, coalesce(v_live, v_reserved)
            );
        elsif _insert_unique.options.on_conflict = 'replace' and v_state = 'pending' then
            update underway.task t
            set
                parked = false,
                input = _insert_unique.input,
                ready_at = greatest(_insert_unique.wanted_at, underway._earliest_ready_at(
                    _insert_unique.queue, _insert_unique.options.priority
                )),
                job = _insert_unique.options.job,
                priority = _insert_unique.options.priority,
                retry_policy = _insert_unique.options.retry_policy,
                timeout = _insert_unique.options.timeout,
                heartbeat = _insert_unique.options.heartbeat,
                retention = _insert_unique.options.retention,
                headers = _insert_unique.options.headers,
                concurrency_key = _insert_unique.options.concurrency_key,
                unique_until_start = nullif(_insert_unique.options.unique_until = 'start', false),
                expires_at = _insert_unique.options.expires_at
            where t.id = v_live
              and t.state = 'pending';

            if found then
                if v_key is not null then
                    perform underway._release_slots(array[_insert_unique.queue], array[v_key]);
                end if;
                return row(v_live, false, true);
            end if;
        else
            return row(coalesce(v_live, v_reserved), false, false);
        end if;
    end loop;
end;
$$;

comment on function underway._insert_unique(
    bigint, text, text, jsonb, timestamptz, underway.task_options, timestamptz
) is
    'Insert a task if its unique key is free; otherwise return, refuse or replace the task that holds the key. Returns the'
    ' task that holds the key now, and whether it was created or replaced.';
