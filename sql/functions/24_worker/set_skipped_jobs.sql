-- set_skipped_jobs: record for which jobs a worker puts tasks back, because it does not know them; `why` shows it.
--
-- Writes: worker.
-- Calls: nothing.

create or replace function underway.set_skipped_jobs(worker bigint, jobs text[])
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.worker w
    set skipped_jobs = coalesce(set_skipped_jobs.jobs, '{}')
    where w.id = set_skipped_jobs.worker
      and w.skipped_jobs is distinct from coalesce(set_skipped_jobs.jobs, '{}');
end;
$$;

comment on function underway.set_skipped_jobs(bigint, text[]) is
    'Record for which jobs a worker puts tasks back without an attempt, because it does not know the job or its'
    ' arguments. why() shows it.';
