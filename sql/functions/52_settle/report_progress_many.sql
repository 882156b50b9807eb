-- report_progress_many: the holder stores the progress of running tasks.
--
-- Writes: task.
-- Calls: _check_leases.
-- Raises: UW001 invalid_argument.

create or replace function underway.report_progress_many(tasks bigint[], leases uuid[], progress jsonb[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_size integer;
begin
    perform underway._check_leases(report_progress_many.tasks, report_progress_many.leases);
    select max(octet_length(given.value::text)) into v_size from unnest(report_progress_many.progress) as given (value);
    if v_size > 32768 then
        raise exception using
            errcode = 'UW001',
            message = format('progress has %s bytes of text', v_size),
            hint = 'Keep it within 32 KiB, for example {"percent": 40, "message": "rows 400 of 1000"}.';
    end if;

    -- SKIP LOCKED: a row that the transaction of its own handler has locked must not delay the progress of the others.
    return query
    update underway.task t
    set progress = locked.progress
    from (
        select held.id, given.progress
        from unnest(report_progress_many.tasks, report_progress_many.leases, report_progress_many.progress)
            as given (task, lease, progress)
        cross join lateral (
            select one.id
            from underway.task one
            where one.id = given.task
              and one.lease = given.lease
            limit 1
            for no key update skip locked
        ) held
    ) locked
    where t.id = locked.id
    returning t.id;
end;
$$;

comment on function underway.report_progress_many(bigint[], uuid[], jsonb[]) is
    'Store the progress of running tasks, any JSON of at most 32 KiB each; task_info shows it. Returns the ids of the'
    ' tasks that were updated. A task is left out if its lease was lost, or if another transaction has locked it.';
