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
