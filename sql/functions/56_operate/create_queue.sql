-- create_queue: create a queue, or change the settings of one; what is left out keeps its value.
--
-- Writes: task, running, ready_key.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.create_queue(
    name text,
    dead_letter_queue text default null,
    retry_policy underway.retry_policy default null,
    timeout interval default null,
    heartbeat interval default null,
    retention interval default null,
    keep_history boolean default null,
    max_running integer default null,
    max_running_per_key integer default null,
    rate_limit integer default null,
    rate_period interval default null,
    max_length integer default null,
    rate_limit_per_key integer default null,
    fair boolean default null
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    -- No claim from the queue is under way while a limit changes: all that follow know it, and all that came before are
    -- counted by it.
    if num_nonnulls(
        create_queue.max_running, create_queue.max_running_per_key, create_queue.fair, create_queue.rate_limit_per_key,
        create_queue.rate_period
    ) > 0 then
        perform pg_advisory_xact_lock(hashtext('underway.claim'), hashtext(create_queue.name));
    end if;

    perform underway._store_queue(
        create_queue.name, create_queue.dead_letter_queue, create_queue.retry_policy, create_queue.timeout,
        create_queue.heartbeat, create_queue.retention, create_queue.keep_history, create_queue.max_running,
        create_queue.max_running_per_key, create_queue.rate_limit, create_queue.rate_period, create_queue.max_length,
        create_queue.rate_limit_per_key, create_queue.fair
    );

    -- What is parked there is found also when the queue is fair no longer.
    if create_queue.fair then
        perform underway._note_keyed_queue(create_queue.name);
    end if;

    if create_queue.max_running > 0 then
        with counted as (
            update underway.task t
            set limited = true
            where t.queue = create_queue.name
              and t.state = 'in_progress'
              and not t.limited
            returning t.queue, t.concurrency_key, t.id
        )
        insert into underway.running (queue, concurrency_key, task)
        select c.queue, coalesce(c.concurrency_key, ''), c.id
        from counted c;
    end if;

    if num_nonnulls(
        create_queue.max_running_per_key, create_queue.rate_limit_per_key, create_queue.rate_period
    ) > 0 then
        insert into underway.ready_key (queue, concurrency_key)
        select distinct p.queue, p.concurrency_key
        from underway.parked p
        where p.queue = create_queue.name;
    end if;

    -- Whatever has changed, more may be allowed now.
    if num_nonnulls(
        create_queue.max_running, create_queue.max_running_per_key, create_queue.rate_limit, create_queue.rate_period,
        create_queue.rate_limit_per_key, create_queue.fair
    ) > 0 then
        perform underway._wake(create_queue.name);
    end if;
end;
$$;

comment on function underway.create_queue(
    text, text, underway.retry_policy, interval, interval, interval, boolean, integer, integer, integer, interval, integer,
    integer, boolean
) is
    'Create a queue, or change the settings that are given. An empty dead_letter_queue takes it away, and 0 takes a'
    ' max_running, rate_limit, rate_limit_per_key or max_length away; with keep_history false, tasks that succeed leave nothing'
    ' behind; with fair, the concurrency keys of the queue are served in turn.';
