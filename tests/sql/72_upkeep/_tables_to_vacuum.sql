begin;
select plan(2);

select is(underway._tables_to_vacuum(), '{}', 'a fresh database needs no vacuum');
select is(underway.maintain(at_once => true) -> 'to_vacuum', '[]', 'maintain returns the tables to vacuum');

-- The counts of dead rows are seen after their transaction only: tests/py/worker/test_vacuum.py.

select * from finish();
rollback;
