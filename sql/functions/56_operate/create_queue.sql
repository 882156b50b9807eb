-- create_queue: create a queue, or change the settings of one; what is left out keeps its value.
--
-- Writes: nothing.
-- Calls: _lock_claims, _repair_parked, _store_queue, _take_slots, _wake.
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
declare
    v_has_slots boolean;
begin
    -- No claim from the queue is under way while a limit of what runs changes: later claims know the limit, and the tasks
    -- that earlier ones took count. A rate limit needs no such lock: its bucket starts full.
    if num_nonnulls(
        create_queue.max_running, create_queue.max_running_per_key, create_queue.fair, create_queue.rate_limit_per_key,
        create_queue.rate_period
    ) > 0 then
        perform underway._lock_claims(create_queue.name);
    end if;

    v_has_slots := (select q.has_slots from underway.queue q where q.name = create_queue.name);

    perform underway._store_queue(
        create_queue.name, create_queue.dead_letter_queue, create_queue.retry_policy, create_queue.timeout,
        create_queue.heartbeat, create_queue.retention, create_queue.keep_history, create_queue.max_running,
        create_queue.max_running_per_key, create_queue.rate_limit, create_queue.rate_period, create_queue.max_length,
        create_queue.rate_limit_per_key, create_queue.fair
    );

    -- Tasks that run already hold slots too.
    if create_queue.max_running > 0 and v_has_slots is not true then
        perform underway._take_slots(create_queue.name);
    end if;

    -- More tasks of a key may run now. maintain does the same for keys beyond these.
    if num_nonnulls(
        create_queue.max_running_per_key, create_queue.rate_limit_per_key, create_queue.rate_period, create_queue.fair
    ) > 0 then
        perform underway._repair_parked(create_queue.name, '', 1000);
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
    ' max_running, rate_limit, rate_limit_per_key or max_length away; with keep_history false, only the'
    ' state and the output of a task that succeeds are kept, for a day at most; with fair, the concurrency keys take turns.';
