-- _queue_of_job: the queue of a registered job; null for another.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._queue_of_job(job text)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select j.queue from underway.job j where j.name = _queue_of_job.job);
end;
$$;

comment on function underway._queue_of_job(text) is 'The queue of a registered job.';
