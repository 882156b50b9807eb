begin;
select plan(3);

create temporary table held as select * from underway_test.held_task();
create temporary table other as select * from underway_test.held_task();

select is(
    underway._lock_held(array[other.id, held.id, other.id, 987654321], array[other.lease, held.lease, other.lease, held.lease]),
    array[held.id, other.id], 'the tasks that are held under their leases are returned once each, in the order of their ids'
)
from held, other;
select is(
    underway._lock_held(array[other.id, held.id], array[held.lease, null]), '{}', 'a wrong lease or a null lease locks nothing'
)
from held, other;
select is(underway._lock_held(null, null), '{}', 'null arrays lock nothing');

select * from finish();
rollback;
