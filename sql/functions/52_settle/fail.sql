-- fail: the holder reports a failed attempt.
--
--   in_progress -> pending | failed
--
-- Writes: nothing.
-- Calls: _raise_lease_lost, fail_many.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.fail(
    task bigint,
    lease uuid,
    error jsonb,
    retryable boolean default true,
    retry_after interval default null
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ready_at timestamptz;
begin
    select failed.ready_at
    into v_ready_at
    from underway.fail_many(
        array[fail.task], array[fail.lease], array[fail.error], array[fail.retryable], array[fail.retry_after]
    ) failed;

    if not found then
        perform underway._raise_lease_lost(fail.task, fail.lease);
    end if;

    return v_ready_at;
end;
$$;

comment on function underway.fail(bigint, uuid, jsonb, boolean, interval) is
    'Report a failed attempt with its error: a JSON string, or an object with type, message and traceback. Returns when'
    ' the task will be tried again, or null when it has failed for good.';
