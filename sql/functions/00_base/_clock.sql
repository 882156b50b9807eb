-- _clock: the only teller of time; the database's clock, not the start of the caller's transaction.
--
-- Writes: nothing.

create or replace function underway._clock()
returns timestamptz
language sql
volatile
as 'select pg_catalog.clock_timestamp()';

comment on function underway._clock() is
    'The time now, by the clock of the database. Tests replace it inside their transaction.';
