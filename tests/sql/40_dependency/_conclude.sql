begin;
select plan(6);

select underway.create_queue('email');
select underway.create_queue('quiet', keep_history => false);
create temporary table task as
select underway.enqueue('email') as plain, underway.enqueue('email') as in_batch, underway.enqueue('quiet') as quiet;
create temporary table after as
select underway.enqueue('email', after => array[in_batch]) as id, underway.enqueue('email', after => array[quiet]) as quiet from task;

create temporary table held as select h.* from underway.dequeue('{email,quiet}'::text[], 10) h;
select underway.complete(h.id, h.lease) from held h, task where h.id = plain;
select is(underway_test.state_of(id), 'waiting', 'the end of a task of no batch starts no dependent') from after;

select underway._conclude(array[in_batch], array[gen_random_uuid()], 'succeeded') from task;
select is(underway_test.state_of(id), 'waiting', 'a settlement whose lease is lost starts no dependent') from after;

select count(*) from held h, task, lateral underway.complete_many(array[h.id], array[h.lease]) where h.id = in_batch;
select is(underway_test.state_of(id), 'pending', 'the end of a task starts its dependent') from after;

select underway.complete(h.id, h.lease) from held h, task where h.id = task.quiet;
select is(underway_test.state_of(quiet), 'pending', 'the end of a task in a queue without history starts its dependent') from after;

-- all of a batch at once, and each batch of them once

create temporary table bulk as select (underway.enqueue_many('email', array_fill('1'::jsonb, array[50]), priority => 9)) as ids;
create temporary table batches as
select n, underway.enqueue('email', after => ids[n:n + 9]) as id from bulk, generate_series(1, 41) n;
create temporary table claimed as select array_agg(c.id) as ids, array_agg(c.lease) as leases from underway.dequeue('email', 50) c;
select count(*) from claimed, lateral underway.complete_many(claimed.ids[1:30], claimed.leases[1:30]);
select results_eq(
    $$ select n from batches where underway_test.state_of(id) = 'pending' order by n $$,
    $$
        select n from batches, bulk, claimed
        where bulk.ids[n:n + 9] <@ claimed.ids[1:30] order by n
    $$,
    'a settlement of many tasks starts the dependents of these tasks alone'
);
select count(*) from claimed, lateral underway.complete_many(claimed.ids[31:50], claimed.leases[31:50]);
select is_empty(
    $$ select n from batches where underway_test.state_of(id) <> 'pending' $$, 'the settlement of the remaining tasks starts the remaining dependents'
);

select * from finish();
rollback;
