-- unregister_job: forget the settings of a job. Its tasks stay, and follow the settings of their queues.
--
-- Writes: job.
-- Calls: nothing.

create or replace function underway.unregister_job(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from underway.job j where j.name = unregister_job.name;
    return found;
end;
$$;

comment on function underway.unregister_job(text) is
    'Forget the settings of a job. Its tasks stay, and follow the settings of their queues. Returns whether it was'
    ' registered.';
