-- _check_claim: refuse a claim with invalid arguments.
--
-- Writes: nothing.
-- Calls: _raise_queue_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._check_claim(queues text[], max_tasks integer)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    v_missing text;
begin
    if _check_claim.max_tasks is null or _check_claim.max_tasks not between 0 and 10000 then
        raise exception using
            errcode = 'UW001',
            message = format('max_tasks is %s', coalesce(_check_claim.max_tasks::text, 'null')),
            hint = 'Claim 0 to 10000 tasks per call.';
    end if;

    -- One pass over both sets, not a look-up for each name: a worker may serve thousands of queues.
    select missing.name
    into v_missing
    from (select unnest(_check_claim.queues) except select q.name from underway.queue q) as missing (name)
    limit 1;

    if found or _check_claim.queues is null then
        perform underway._raise_queue_not_found(v_missing);
    end if;
end;
$$;

comment on function underway._check_claim(text[], integer) is
    'Refuse a claim from a queue that does not exist, or of a number of tasks outside 0 to 10000.';
