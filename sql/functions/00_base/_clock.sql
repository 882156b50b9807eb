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

create or replace function underway._clock_after_xid()
returns timestamptz
language sql
volatile
begin atomic
    select case when pg_current_xact_id() is not null then underway._clock() end;
end;

comment on function underway._clock_after_xid() is
    'The time now, seen after the transaction has got its id: a transaction of a later id sees a later time. What is made'
    ' ready or leased is dated by it, so that _advance_watermark knows which times are over.';

create or replace function underway._clock_before_xid()
returns timestamptz
language sql
volatile
as 'select least(pg_catalog.transaction_timestamp(), underway._clock())';

comment on function underway._clock_before_xid() is
    'A time before the transaction had its id, even where it has had one for long.';
