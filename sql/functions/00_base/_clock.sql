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

create or replace function underway._clock_after_xid()
returns timestamptz
language sql
volatile
begin atomic
    select case when pg_current_xact_id() is not null then underway._clock() end;
end;

comment on function underway._clock_after_xid() is
    'The current time, read after the transaction has been assigned an id, so that a transaction with a later id reads a'
    ' later time. The times of ready and leased tasks come from it; _advance_watermark relies on that.';

create or replace function underway._clock_before_xid()
returns timestamptz
language sql
volatile
as 'select least(pg_catalog.transaction_timestamp(), underway._clock())';

comment on function underway._clock_before_xid() is
    'A time before the transaction was assigned an id, also if that was long ago.';
