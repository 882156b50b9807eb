begin;
select plan(19);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
select underway.create_queue('email');

-- A batch of two tasks, with one that waits for each thing that may become of it.
create temporary table task as select (underway.enqueue_many('email', array_fill('1'::jsonb, array[2]))) as ids;
create temporary table waiting as
select event, underway.enqueue('email') as id from unnest('{success,final,failure}'::text[]) as event;
insert into underway.batch (id, created_at, retention, implicit) overriding system value values (-1, underway._clock(), '1 day', false);
select underway._add_to_batch(-1, ids) from task;
select underway._block_tasks(array[id], -1, event) from waiting;
create temporary table doomed as select underway.enqueue('email') as id;
select underway._block_tasks(array[id], -1, 'success', true) from doomed;

create function pg_temp.states() returns text language sql as $$
    select string_agg(event || ' ' || underway_test.state_of(id), ', ' order by event) from waiting
$$;
create function pg_temp.batch() returns text language sql as $$
    select format(
        'failed %s, final %s, succeeded %s, expires %s', to_char(failed_at at time zone 'UTC', 'HH24:MI'),
        to_char(final_at at time zone 'UTC', 'HH24:MI'), to_char(succeeded_at at time zone 'UTC', 'HH24:MI'),
        to_char(expires_at at time zone 'UTC', 'DD HH24:MI')
    )
    from underway.batch where id = -1
$$;

-- nothing has become of it

select is((underway._evaluate_batch(-1)).to_fail, null, 'while all tasks are live no dependent fails');
select is(pg_temp.batch(), 'failed , final , succeeded , expires ', 'while all tasks are live the batch has no outcome');
select is(pg_temp.states(), 'failure waiting, final waiting, success waiting', 'while all tasks are live all dependents wait');
select is_empty('select from underway.batch_to_reevaluate', 'a batch with a live task need not be evaluated again');

-- a task of it fails

update underway.batch_task m set outcome = 'failed' from task where m.task = ids[1];
select is((underway._evaluate_batch(-1)).to_fail, array[id], 'a dependent that fails with the batch is returned when a task has failed') from doomed;
select is(underway_test.state_of(id), 'waiting', '_evaluate_batch itself fails no dependent') from doomed;
select underway._evaluate_batches('{-1}');
select is(underway_test.state_of(id), 'failed', '_evaluate_batches fails it') from doomed;
select is(pg_temp.batch(), 'failed 12:00, final , succeeded , expires ', 'the time of the first failure is stored');
select is(pg_temp.states(), 'failure pending, final waiting, success waiting', 'a failure starts the dependent that waits for it');

-- all are final

select underway_test.advance_clock('1 minute');
update underway.batch_task m set outcome = 'cancelled' from task where m.task = ids[2];
select underway._evaluate_batches('{-1}');
select is(pg_temp.batch(), 'failed 12:00, final 12:01, succeeded , expires 02 12:01', 'the retention begins when all tasks are final');
select is(pg_temp.states(), 'failure pending, final pending, success waiting', 'the end of all tasks starts the dependent that waits for it');

-- all have succeeded after all

select underway_test.advance_clock('1 minute');
delete from underway.batch_task;
select underway._evaluate_batches('{-1}');
select is(
    pg_temp.batch(), 'failed 12:00, final 12:01, succeeded 12:02, expires 02 12:02',
    'the retention begins anew when all tasks have succeeded after all, and the other times stay'
);
select is(pg_temp.states(), 'failure pending, final pending, success pending', 'success starts the dependent that waits for it');
select underway_test.advance_clock('1 minute');
select underway._evaluate_batches('{-1}');
select is(
    pg_temp.batch(), 'failed 12:00, final 12:01, succeeded 12:02, expires 02 12:02', 'a further evaluation changes nothing'
);

-- success at the first try

insert into underway.batch (id, created_at, retention, implicit) overriding system value values (-2, underway._clock(), '1 day', false);
create temporary table unneeded as select underway.enqueue('email') as id;
select underway._block_tasks(array[id], -2, 'failure') from unneeded;
select underway._evaluate_batches('{-2}');
select is(underway_test.state_of(id), 'cancelled', 'success cancels the dependent that waits for a failure') from unneeded;

-- notes

insert into underway.batch (id, created_at, retention, implicit) overriding system value values (-3, underway._clock(), '1 day', false);
insert into underway.batch_to_reevaluate (batch) values (-3), (-3), (-4);
select underway._reevaluate_batches(1);
select is((select count(*) from underway.batch_to_reevaluate), 2::bigint, 'no more batches are read than requested');
select underway._reevaluate_batches();
select is_empty('select from underway.batch_to_reevaluate', 'each recorded batch is evaluated once, and a deleted batch is skipped');
select ok((select succeeded_at is not null from underway.batch where id = -3), 'a recorded batch gets its outcome');

-- a row that another transaction has written to, as it was rolled back
insert into underway.batch (id, created_at, retention, implicit) overriding system value values (-5, underway._clock(), '1 day', false);
insert into underway.batch_task values (1, -5);
do $$
begin
    delete from underway.batch_task where batch = -5;
    raise exception using errcode = 'UW001';
exception when sqlstate 'UW001' then null;
end;
$$;
select underway._evaluate_batches('{-5}');
select is_empty(
    'select batch from underway.batch_to_reevaluate',
    'a batch with a live task whose settlement was rolled back need not be evaluated again'
);

select * from finish();
rollback;
