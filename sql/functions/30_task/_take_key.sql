-- _take_key: insert a task if its unique key is free; otherwise do as on_conflict says with the task that has the key.
--
--   -> pending
--
-- The index task_unique decides who has a key, and the primary key of unique_hold who has it for longer than a task
-- lives. Whoever meets another that is not committed waits for it: rolled back, the key is free.
--
-- Writes: task, parked, unique_hold.
-- Refuses: UW010 unique_conflict.

create or replace function underway._take_key(
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
as $$
#variable_conflict use_column
declare
    v_live  bigint;
    v_state underway.task_state;
    v_held  bigint;
    v_over  bigint;
begin
    -- Until it is settled: who had the key may be gone at the next look.
    loop
        select t.id, t.state, h.task
        into v_live, v_state, v_held
        from (values (true)) as one
        left join underway.task t on t.queue = _take_key.task.queue and t.unique_key = _take_key.task.unique_key
        left join underway.unique_hold h
            on h.queue = _take_key.task.queue
           and h.unique_key = _take_key.task.unique_key
           and h.expires_at > _take_key.now;

        -- What failed or was cancelled holds its key no longer.
        v_over := null;
        if v_live is null and v_held is not null then
            select h.id
            into v_over
            from underway.task_history h
            where h.id = v_held
              and h.state in ('failed', 'cancelled');
        end if;

        if v_live is null and v_held is not distinct from v_over then
            insert into underway.task (
                id, queue, unique_key, concurrency_key, job, input, priority, ready_at, enqueued_at, retry_policy, timeout,
                heartbeat, ttl, headers
            )
            values (
                _take_key.task.id, _take_key.task.queue, _take_key.task.unique_key,
                _take_key.task.concurrency_key, _take_key.task.job, _take_key.task.input,
                _take_key.task.priority, _take_key.task.ready_at, _take_key.task.enqueued_at,
                _take_key.task.retry_policy, _take_key.task.timeout, _take_key.task.heartbeat,
                _take_key.task.ttl, _take_key.task.headers
            )
            on conflict (queue, unique_key) where unique_key is not null do nothing;

            if found then
                -- Another may have come and gone between the look and the insert, and hold the key yet.
                if _take_key.unique_for is not null and _take_key.task.unique_key is not null then
                    insert into underway.unique_hold as h (queue, unique_key, task, expires_at)
                    values (
                        _take_key.task.queue, _take_key.task.unique_key, _take_key.task.id,
                        _take_key.now + _take_key.unique_for
                    )
                    on conflict (queue, unique_key) do update
                    set task = excluded.task, expires_at = excluded.expires_at
                    where h.expires_at <= _take_key.now or h.task = v_over;
                else
                    perform
                    where not exists (
                        select
                        from underway.unique_hold h
                        where h.queue = _take_key.task.queue
                          and h.unique_key = _take_key.task.unique_key
                          and h.expires_at > _take_key.now
                          and h.task is distinct from v_over
                    );
                end if;

                if found then
                    return row(_take_key.task.id, true, false);
                end if;

                delete from underway.task t where t.id = _take_key.task.id;
            end if;
        elsif _take_key.on_conflict = 'error' then
            perform underway._unique_conflict(
                _take_key.task.queue, _take_key.task.unique_key, coalesce(v_live, v_held)
            );
        elsif _take_key.on_conflict = 'replace' and v_state = 'pending' then
            update underway.task t
            set
                parked = false,
                input = _take_key.task.input,
                priority = _take_key.task.priority,
                ready_at = _take_key.task.ready_at,
                concurrency_key = _take_key.task.concurrency_key,
                job = _take_key.task.job,
                headers = _take_key.task.headers,
                retry_policy = _take_key.task.retry_policy,
                timeout = _take_key.task.timeout,
                heartbeat = _take_key.task.heartbeat,
                ttl = _take_key.task.ttl
            where t.id = v_live
              and t.state = 'pending';

            if found then
                delete from underway.parked p where p.task = v_live;
                return row(v_live, false, true);
            end if;
        else
            return row(coalesce(v_live, v_held), false, false);
        end if;
    end loop;
end;
$$;

comment on function underway._take_key(underway.task, text, interval, timestamptz) is
    'Insert a task if its unique key is free; otherwise return, refuse or replace the one that has it. Returns which task'
    ' has the key now, and whether it was created or replaced.';
