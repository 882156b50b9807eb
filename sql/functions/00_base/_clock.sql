-- _clock: the current time of the database server. Only this function reads the clock, so that tests can replace it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._clock()
returns timestamptz
language sql
volatile
as 'select pg_catalog.clock_timestamp()';

comment on function underway._clock() is
    'The current time of the database server, not the start of the transaction. Tests replace this function.';

-- A task is ready from now on unless something else is said. Only once, since it locks the table.
do $$
begin
    if not exists (
        select
        from pg_catalog.pg_attribute a
        where a.attrelid = 'underway.task'::regclass
          and a.attname = 'ready_at'
          and a.atthasdef
    ) then
        alter table underway.task alter column ready_at set default underway._clock();
    end if;
end;
$$;
