-- _one_in: whether this call is the one in so many that does something expensive.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._one_in(calls integer)
returns boolean
language sql
volatile
as 'select pg_catalog.random() * _one_in.calls < 1';

comment on function underway._one_in(integer) is
    'Whether this call is the one in so many, by chance. Tests replace it inside their transaction.';
