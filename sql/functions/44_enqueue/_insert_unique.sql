-- _insert_unique: insert a task if its unique key is free; otherwise do as on_conflict says with the task that has the key.
--
--   -> pending
--
-- The index task_unique decides who has a key, and the primary key of unique_reservation who has it for longer than a task
-- lives. Whoever meets another that is not committed waits for it: rolled back, the key is free.
--
-- Writes: task, unique_reservation.
-- Raises: UW010 unique_conflict.

create or replace function underway._insert_unique(
    task underway.task,
    on_conflict text,
    unique_for interval,
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
    v_live  bigint;
    v_state underway.task_state;
    v_key   text;
    v_held  bigint;
    v_ended_holder  bigint;
begin
    -- Until it is settled: who had the key may be gone at the next look.
    loop
        select t.id, t.state, t.concurrency_key, h.task
        into v_live, v_state, v_key, v_held
        from (values (true)) as one
        left join underway.task t on t.queue = _insert_unique.task.queue and t.unique_key = _insert_unique.task.unique_key
        left join underway.unique_reservation h
            on h.queue = _insert_unique.task.queue
           and h.unique_key = _insert_unique.task.unique_key
           and h.expires_at > _insert_unique.now;

        -- What failed or was cancelled holds its key no longer.
        v_ended_holder := null;
        if v_live is null and v_held is not null then
            select h.id
            into v_ended_holder
            from underway.task_history h
            where h.id = v_held
              and h.state in ('failed', 'cancelled');
        end if;

        if v_live is null and v_held is not distinct from v_ended_holder then
            insert into underway.task (
                id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
                heartbeat, retention, headers
            )
            values (
                _insert_unique.task.id, _insert_unique.task.queue, _insert_unique.task.unique_key,
                _insert_unique.task.concurrency_key, _insert_unique.task.job, _insert_unique.task.input,
                _insert_unique.task.priority,
                greatest(
                    _insert_unique.task.ready_at,
                    underway._earliest_ready_at(_insert_unique.task.queue, _insert_unique.task.priority)
                ),
                _insert_unique.task.enqueued_at,
                _insert_unique.task.retry_policy, _insert_unique.task.timeout, _insert_unique.task.heartbeat,
                _insert_unique.task.retention, _insert_unique.task.headers
            )
            on conflict (queue, unique_key) where unique_key is not null do nothing;

            if found then
                -- Another may have come and gone between the look and the insert, and hold the key yet.
                if _insert_unique.unique_for is not null and _insert_unique.task.unique_key is not null then
                    insert into underway.unique_reservation as h (queue, unique_key, task, expires_at)
                    values (
                        _insert_unique.task.queue, _insert_unique.task.unique_key, _insert_unique.task.id,
                        _insert_unique.now + _insert_unique.unique_for
                    )
                    on conflict (queue, unique_key) do update
                    set task = excluded.task, expires_at = excluded.expires_at
                    where h.expires_at <= _insert_unique.now or h.task = v_ended_holder;
                else
                    perform
                    where not exists (
                        select
                        from underway.unique_reservation h
                        where h.queue = _insert_unique.task.queue
                          and h.unique_key = _insert_unique.task.unique_key
                          and h.expires_at > _insert_unique.now
                          and h.task is distinct from v_ended_holder
                    );
                end if;

                if found then
                    return row(_insert_unique.task.id, true, false);
                end if;

                delete from underway.task t where t.id = _insert_unique.task.id;
            end if;
        elsif _insert_unique.on_conflict = 'error' then
            perform underway._raise_unique_conflict(
                _insert_unique.task.queue, _insert_unique.task.unique_key, coalesce(v_live, v_held)
            );
        elsif _insert_unique.on_conflict = 'replace' and v_state = 'pending' then
            update underway.task t
            set
                parked = false,
                input = _insert_unique.task.input,
                priority = _insert_unique.task.priority,
                ready_at = greatest(
                    _insert_unique.task.ready_at, underway._earliest_ready_at(t.queue, _insert_unique.task.priority)
                ),
                concurrency_key = _insert_unique.task.concurrency_key,
                job = _insert_unique.task.job,
                headers = _insert_unique.task.headers,
                retry_policy = _insert_unique.task.retry_policy,
                timeout = _insert_unique.task.timeout,
                heartbeat = _insert_unique.task.heartbeat,
                retention = _insert_unique.task.retention
            where t.id = v_live
              and t.state = 'pending';

            if found then
                if v_key is not null then
                    perform underway._release_slots(array[_insert_unique.task.queue], array[v_key]);
                end if;
                return row(v_live, false, true);
            end if;
        else
            return row(coalesce(v_live, v_held), false, false);
        end if;
    end loop;
end;
$$;

comment on function underway._insert_unique(underway.task, text, interval, timestamptz) is
    'Insert a task if its unique key is free; otherwise return, refuse or replace the one that has it. Returns which task'
    ' has the key now, and whether it was created or replaced.';
