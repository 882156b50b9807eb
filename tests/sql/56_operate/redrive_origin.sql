-- what became of the origin of a dead letter meanwhile

begin;
select plan(22);

select underway_test.stop_clock();
select underway.create_queue('letters');
select underway.create_queue('email', dead_letter_queue => 'letters', retention => '1 day');

create function pg_temp.letter_of(task bigint) returns bigint language sql as $$
    select t.id from underway.task t where (t.dead_letter ->> 'task')::bigint = letter_of.task order by t.id limit 1
$$;

-- its retention is over

create temp table expired as select underway_test.finished_task('failed') as id;
create temp table expired_letter as select pg_temp.letter_of(expired.id) as id from expired;
select underway_test.advance_clock('3 days');
select underway._prune();

select is(underway_test.state_of(expired.id), null, 'the history has forgotten the failure') from expired;

select is(underway.redrive('letters'), 1, 'the letter of a task that has left the history is redriven');

select results_eq(
    $$
        select i.state::text, i.attempt, i.input, i.job, i.enqueued_at, i.ready_at, i.dead_letter
        from expired, underway.task_info(expired.id) i
    $$,
    $$
        values (
            'pending', 0, '{"to": "ferris@example.com"}'::jsonb, 'send_mail', '2030-01-01 12:00:00+00'::timestamptz,
            '2030-01-04 12:00:00+00'::timestamptz, null::jsonb
        )
    $$,
    'the task is back under its own id, with its input and the time when it was enqueued'
);

create temp table expired_claim as select * from underway.dequeue('email', 10);
select underway.complete(expired_claim.id, expired_claim.lease) from expired_claim;

select is(underway_test.state_of(expired.id), 'succeeded', 'the redriven task runs') from expired;

-- somebody deleted it

create temp table deleted as select underway_test.finished_task('failed') as id;
select underway.delete_task(deleted.id) from deleted;

select is(underway.redrive('letters'), 1, 'the dead letter of a task that was deleted goes back');
select is(underway_test.state_of(deleted.id), 'pending', 'the redriven task has the id of the deleted task') from deleted;

-- somebody retried it while its dead letter was being handled; now it is live

delete from underway.task;
create temp table live as select underway_test.finished_task('failed') as id;
create temp table live_handler as select * from underway.dequeue('letters');
select underway.retry(live.id) from live;
select underway.release(live_handler.id, live_handler.lease) from live_handler;
create temp table live_before as select to_jsonb(t) as row_ from underway.task t join live on live.id = t.id;

select is(underway.redrive('letters'), 0, 'the dead letter of a task that lives again does not go');

select is(
    (select to_jsonb(t) from underway.task t join live on live.id = t.id), live_before.row_, 'a live task does not change when its letter is redriven'
)
from live_before;

select is(
    underway_test.state_of(live_handler.id), 'cancelled', 'the letter of a live task is cancelled'
)
from live_handler;

-- it succeeded meanwhile

delete from underway.task;
create temp table done as select underway_test.finished_task('failed') as id;
create temp table done_handler as select * from underway.dequeue('letters');
select underway.retry(done.id) from done;
create temp table done_claim as select * from underway.dequeue('email', 10);
select underway.complete(done_claim.id, done_claim.lease, '"sent"') from done_claim;
select underway.release(done_handler.id, done_handler.lease) from done_handler;

select is(underway.redrive('letters'), 0, 'the dead letter of a task that has succeeded meanwhile does not go');
select is(underway_test.state_of(done.id), 'succeeded', 'the letter of a succeeded task is cancelled') from done;
select is(underway_test.state_of(done_handler.id), 'cancelled', 'the dead letter is cancelled') from done_handler;

-- it was cancelled meanwhile

create temp table gone as select underway_test.finished_task('failed') as id;
create temp table gone_handler as select * from underway.dequeue('letters');
select underway.retry(gone.id) from gone;
select underway.cancel(gone.id) from gone;
select underway.release(gone_handler.id, gone_handler.lease) from gone_handler;

select is(underway.redrive('letters'), 0, 'the dead letter of a task that was cancelled meanwhile does not go');
select is(underway_test.state_of(gone.id), 'cancelled', 'a cancelled task stays cancelled when its letter is redriven') from gone;

-- it failed again, and left another dead letter

create temp table twice as select underway_test.finished_task('failed') as id;
create temp table twice_handler as select * from underway.dequeue('letters');
select underway.retry(twice.id) from twice;
create temp table twice_claim as select * from underway.dequeue('email', 10);
select underway.fail(twice_claim.id, twice_claim.lease, '"again"', retryable => false) from twice_claim;
select underway.release(twice_handler.id, twice_handler.lease) from twice_handler;

select is(
    (select count(*) from twice, underway.task t where (t.dead_letter ->> 'task')::bigint = twice.id), 2::bigint,
    'a task can have two dead letters'
);

select is(underway.redrive('letters'), 1, 'one of them goes back');
select is(underway_test.state_of(twice.id), 'pending', 'one of two letters of a task restores the task') from twice;
select is_empty($$ select from underway.task t where t.queue = 'letters' $$, 'the second letter of a task is cancelled');

-- the dead letter itself is final

delete from underway.task;
create temp table resolved as select underway_test.finished_task('failed') as id;
create temp table resolver as select * from underway.dequeue('letters');
select underway.complete(resolver.id, resolver.lease, '"by hand"') from resolver;

select is(underway.redrive('letters'), 0, 'a dead letter that was handled does not go');
select is(underway_test.state_of(resolved.id), 'failed', 'the task of a completed letter stays failed') from resolved;

create temp table dismissed as select underway_test.finished_task('failed') as id;
select underway.cancel(pg_temp.letter_of(dismissed.id)) from dismissed;

select is(underway.redrive('letters'), 0, 'a dead letter that was cancelled does not go');
select is(underway_test.state_of(dismissed.id), 'failed', 'the task of a cancelled letter stays failed') from dismissed;

select * from finish();
rollback;
