-- fencing in a batch: what is still held is settled, and nothing else is touched

begin;
select plan(17);

select underway_test.stop_clock();

create temp table lost (situation text, id bigint, lease uuid);

insert into lost select 'reclaimed', held.id, held.lease from underway_test.held_task('slow') held;
insert into lost select 'claimed by another', held.id, held.lease from underway_test.held_task('stolen') held;

select underway_test.advance_clock('1 hour');
select underway._reclaim(everything => true);
select underway_test.advance_clock('1 hour');
select from underway.dequeue('stolen');

insert into lost select 'succeeded', held.id, held.lease from underway_test.held_task() held;
insert into lost select 'cancelled', held.id, held.lease from underway_test.held_task() held;
insert into lost select 'released', held.id, held.lease from underway_test.held_task('given_back') held;

select underway.complete(lost.id, lost.lease) from lost where lost.situation = 'succeeded';
select underway.cancel(lost.id) from lost where lost.situation = 'cancelled';
select underway.release(lost.id, lost.lease) from lost where lost.situation = 'released';

insert into lost select 'a wrong lease', held.id, gen_random_uuid() from underway_test.held_task('other') held;
insert into lost select 'unknown', 987654321, gen_random_uuid();
insert into lost select 'never claimed', underway_test.ready_task('untouched'), gen_random_uuid();

-- two leases changed places

create temp table swapped as
select a.id as a, a.lease as a_lease, b.id as b, b.lease as b_lease
from underway_test.held_task('other') a, underway_test.held_task('other') b;

insert into lost select 'swapped', swapped.a, swapped.b_lease from swapped;
insert into lost select 'swapped', swapped.b, swapped.a_lease from swapped;

create function pg_temp.untouched() returns jsonb language sql as $$
    select jsonb_build_array(
        (select jsonb_agg(to_jsonb(t) order by t.id) from underway.task t where t.id in (select lost.id from lost)),
        (select jsonb_agg(to_jsonb(h) order by h.id) from underway.task_history h where h.id in (select lost.id from lost))
    )
$$;

create temp table before as select pg_temp.untouched();

-- each call gets a task that it holds, in the midst of all that are lost

create temp table call (name text, held bigint, result text[]);

create function pg_temp.settle(name text, statement text) returns void language plpgsql as $$
declare
    v_held   underway_test.held := underway_test.held_task('mine');
    v_result text[];
begin
    execute settle.statement
    into v_result
    using
        array(select lost.id from lost order by lost.ctid limit 5) || v_held.id
            || array(select lost.id from lost order by lost.ctid offset 5),
        array(select lost.lease from lost order by lost.ctid limit 5) || v_held.lease
            || array(select lost.lease from lost order by lost.ctid offset 5);

    insert into call values (settle.name, v_held.id, v_result);
end;
$$;

select pg_temp.settle('complete_many', 'select array_agg(done.id::text) from underway.complete_many($1, $2) as done (id)');
select pg_temp.settle(
    'fail_many',
    $$ select array_agg(done.id::text) from underway.fail_many($1, $2, array_fill('"late"'::jsonb, array[cardinality($1)])) as done $$
);
select pg_temp.settle('release_many', 'select array_agg(done.id::text) from underway.release_many($1, $2) as done (id)');
select pg_temp.settle('heartbeat', 'select array_agg(done.id::text) from underway.heartbeat($1, $2) as done (id)');

select is(
    call.result, array[call.held::text], format('%s settles the task that is held, and returns it alone', call.name)
)
from call;

select is(
    underway_test.state_of(call.held), expected.state,
    format('%s does its work on the task that is held', call.name)
)
from call
join (
    values ('complete_many', 'succeeded'), ('fail_many', 'pending'), ('release_many', 'pending'), ('heartbeat', 'in_progress')
) as expected (name, state) on expected.name = call.name;

select pg_temp.settle(
    'complete_and_dequeue',
    $$
        select array_agg(row_.id::text order by row_.id)
        from underway.complete_and_dequeue($1, $2, null, '{}', 1) as row_
        where row_.lease is null
    $$
);

select is(
    call.result,
    array(select distinct_.id::text from (select distinct lost.id from lost) distinct_ order by distinct_.id),
    'complete_and_dequeue names the tasks that were lost'
)
from call
where call.name = 'complete_and_dequeue';

select is(underway_test.state_of(call.held), 'succeeded', 'complete_and_dequeue settles the task that is held')
from call
where call.name = 'complete_and_dequeue';

-- without leases nobody holds anything

create temp table held as select * from underway_test.held_task('mine');

select throws_ok(
    format(statement.text, held.id), 'UW001', '1 tasks and 0 leases',
    format('%s without leases is refused', statement.name)
)
from held, (
    values
        ('complete_many', 'select underway.complete_many(array[%s], null)'),
        ('complete_and_dequeue', 'select underway.complete_and_dequeue(array[%s], null, null, ''{}'', 1)'),
        ('fail_many', 'select underway.fail_many(array[%s], null, null)'),
        ('release_many', 'select underway.release_many(array[%s], null)'),
        ('heartbeat', 'select underway.heartbeat(array[%s], null)')
) as statement (name, text);

select is(underway_test.state_of(held.id), 'in_progress', 'a call with lost leases only settles nothing') from held;

select is(pg_temp.untouched(), before.untouched, 'no call for many tasks changes a task whose lease is lost') from before;

select * from finish();
rollback;
