-- report_progress: the holder stores the progress of a running task.
--
-- Writes: task.
-- Calls: _raise_lease_lost.
-- Raises: UW001 invalid_argument, UW002 lease_lost.

create or replace function underway.report_progress(task bigint, lease uuid, progress jsonb)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    if octet_length(report_progress.progress::text) > 32768 then
        raise exception using
            errcode = 'UW001',
            message = format('progress has %s bytes of text', octet_length(report_progress.progress::text)),
            hint = 'Keep it within 32 KiB, for example {"percent": 40, "message": "rows 400 of 1000"}.';
    end if;

    update underway.task t
    set progress = report_progress.progress
    where t.id = report_progress.task
      and t.lease = report_progress.lease;

    if not found then
        perform underway._raise_lease_lost(report_progress.task, report_progress.lease);
    end if;
end;
$$;

comment on function underway.report_progress(bigint, uuid, jsonb) is
    'Store the progress of a running task, any JSON of at most 32 KiB; task_info shows it.';
