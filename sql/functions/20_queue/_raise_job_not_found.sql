-- _raise_job_not_found: refuse a task without a queue whose job is not registered.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument, UW016 job_not_found.

create or replace function underway._raise_job_not_found(job text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if _raise_job_not_found.job is null then
        raise exception using
            errcode = 'UW001',
            message = 'neither a queue nor a job is given',
            hint = 'Give the queue, or a job that is registered with its queue.';
    end if;

    raise exception using
        errcode = 'UW016',
        message = format('job %L is not registered, so its queue is not known', _raise_job_not_found.job),
        hint = format(
            'Register it: select underway.register_job(%L, queue => ...); or give the queue.', _raise_job_not_found.job
        );
end;
$$;

comment on function underway._raise_job_not_found(text) is
    'Refuse a task that has no queue and whose job is not registered. The hint is the call that would register it.';
