-- _job_queue: the queue of a job; null where the job is not registered.
--
-- A function of its own, and not a subquery: the statement of an enqueue that gives its queue opens no table for it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._job_queue(job text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select j.queue from underway.job j where j.name = _job_queue.job);
end;
$$;

comment on function underway._job_queue(text) is 'The queue of a job; null where the job is not registered.';

create or replace function underway._job_has_defaults(job text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select
        from underway.job j
        where j.name = _job_has_defaults.job
          and num_nonnulls(j.priority, j.concurrency_key, j.expires) > 0
    );
end;
$$;

comment on function underway._job_has_defaults(text) is
    'Whether a job has a priority, a concurrency key or an expiry for tasks that are enqueued without.';

create or replace function underway._job_retention(job text)
returns interval
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select j.retention from underway.job j where j.name = _job_retention.job);
end;
$$;

comment on function underway._job_retention(text) is 'The retention of a job; null where it has none.';
