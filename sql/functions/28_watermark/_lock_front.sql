-- _lock_front: keep the watermarks of these queues where they are until the transaction ends, so that tasks can be put in
-- front of the line. Waits for a claim that is moving one.
--
-- In a statement after this, a task may be made ready at its old time, but not before the watermark.
--
-- Writes: nothing.
-- Calls: _clock, _earliest_ready_at, _watermark, _watermark_lock.

create or replace function underway._lock_front(queues text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock_shared(held.key)
    from (
        select distinct underway._watermark_lock(given.queue) as key
        from unnest(_lock_front.queues) as given (queue)
        order by 1
    ) held;
end;
$$;

comment on function underway._lock_front(text[]) is
    'Keep the watermarks of queues where they are until the transaction ends.';

create or replace function underway._front_at(queue text, priority integer, ready_at timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_watermark underway.watermark;
begin
    select w.* into v_watermark from underway._watermark(_front_at.queue, _front_at.priority) w;

    -- A repeatable-read snapshot does not show the newest watermark, and one in the future must be reset. Then the task does
    -- not keep its place, but is ready from now on.
    if current_setting('transaction_isolation') <> 'read committed'
       or v_watermark.observed_at > underway._clock() + interval '1 second' then
        return underway._earliest_ready_at(_front_at.queue, _front_at.priority);
    end if;

    return greatest(_front_at.ready_at, v_watermark.ready_at);
end;
$$;

comment on function underway._front_at(text, integer, timestamptz) is
    'The ready_at of a task that keeps its place; the caller has called _lock_front in an earlier statement.';
