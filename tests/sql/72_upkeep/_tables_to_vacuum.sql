begin;
select plan(2);

-- Other tests have filled the tables in transactions that were rolled back.
select pg_stat_reset_single_table_counters(c.oid)
from pg_class c
where c.relnamespace = 'underway'::regnamespace and c.relkind = 'r';

select is(underway._tables_to_vacuum(), '{}', 'a fresh database needs no vacuum');
select is(underway.maintain(at_once => true) -> 'to_vacuum', '[]', 'maintain returns the tables to vacuum');

-- The counts of dead rows are seen after their transaction only: tests/py/worker/test_vacuum.py.

select * from finish();
rollback;
