-- _job_retentions: the retentions of all jobs that have one, by their names.
--
-- A function of its own, and not a subquery: a finish of tasks opens no table for it while no job has a retention. It is
-- called for each task then, so it sets no search_path either.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._job_retentions()
returns jsonb
language plpgsql
stable
as $$
begin
    return (select jsonb_object_agg(j.name, j.retention) from underway.job j where j.retention is not null);
end;
$$;

comment on function underway._job_retentions() is 'The retentions of all jobs that have one, by their names.';
