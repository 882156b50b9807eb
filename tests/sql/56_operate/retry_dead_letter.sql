-- a task that is retried by itself, and its dead letter

begin;
select plan(13);

select underway_test.stop_clock();
select underway.create_queue('last_letters');
select underway.create_queue('letters', dead_letter_queue => 'last_letters', retry_policy => underway.retry_policy(2, '1 hour', '1 hour'));
select underway.create_queue('email', dead_letter_queue => 'letters');

create function pg_temp.letters_of(task bigint) returns bigint[] language sql as $$
    select array(select t.id from underway.task t where (t.dead_letter ->> 'task')::bigint = letters_of.task)
$$;

-- one that waits

create temp table failed as select underway_test.finished_task('failed') as id;
create temp table bystander as select underway_test.finished_task('failed') as id;
create temp table letter as select (pg_temp.letters_of(failed.id))[1] as id from failed;

select underway.retry(failed.id) from failed;

select is(
    pg_temp.letters_of(failed.id), '{}', 'a dead letter that waits is withdrawn, so that the work is not done twice'
)
from failed;

select is(cardinality(pg_temp.letters_of(bystander.id)), 1, 'the dead letters of other tasks stay') from bystander;

-- one that was tried once

delete from underway.task;
create temp table tried as select underway_test.finished_task('failed') as id;
create temp table tried_handler as select * from underway.dequeue('letters');
select underway.fail(tried_handler.id, tried_handler.lease, '"nobody home"') from tried_handler;
select underway.retry(tried.id) from tried;

select is(
    pg_temp.letters_of(tried.id), '{}', 'a dead letter that waits to be handled again is withdrawn too'
)
from tried;

-- one that is being handled

delete from underway.task;
create temp table handled as select underway_test.finished_task('failed') as id;
create temp table handler as select * from underway.dequeue('letters');
select underway.retry(handled.id) from handled;

select is(
    underway_test.state_of(handler.id), 'in_progress', 'a dead letter that is being handled is left alone'
)
from handler;

select lives_ok($$ select underway.complete(handler.id, handler.lease) from handler $$, 'the handler of a dead letter can complete it');

-- the dead letter itself is retried

delete from underway.task;
create temp table origin as select underway_test.finished_task('failed') as id;
create temp table origin_letter as select * from underway.dequeue('letters');
select underway.fail(origin_letter.id, origin_letter.lease, '"nobody"', retryable => false) from origin_letter;
select underway.retry(origin_letter.id) from origin_letter;

select is(
    pg_temp.letters_of(origin.id), array[origin_letter.id],
    'a dead letter that failed begins anew as the dead letter that it was'
)
from origin, origin_letter;

select is(pg_temp.letters_of(origin_letter.id), '{}', 'the dead letter of a retried dead letter is cancelled') from origin_letter;

select is(t.dead_letter, origin_letter.dead_letter, 'a retried dead letter keeps its content')
from origin_letter
join underway.task t on t.id = origin_letter.id;

select underway.redrive('letters');

select is(underway_test.state_of(origin.id), 'pending', 'a retried dead letter can be redriven') from origin;

-- a retried task fails again

delete from underway.task;
create temp table again as select underway_test.finished_task('failed') as id;
select underway.retry(again.id) from again;
create temp table again_claim as select * from underway.dequeue('email');
select underway_test.advance_clock('1 second');
select underway.fail(again_claim.id, again_claim.lease, '"again"', retryable => false) from again_claim;

select is(
    cardinality(pg_temp.letters_of(again.id)), 1, 'a retried task that fails again leaves one new dead letter'
)
from again;

select is(
    (select t.dead_letter #>> '{error,message}' from underway.task t where (t.dead_letter ->> 'task')::bigint = again.id), 'again',
    'the new dead letter has the latest error'
)
from again;

-- without a dead letter

create temp table refused as select underway_test.finished_task('succeeded') as id;
create temp table kept as select underway_test.finished_task('failed') as id;

select throws_ok(
    $$ select underway.retry(refused.id) from refused $$, 'UW005', null, 'a task that may not be retried is refused'
);

select is(cardinality(pg_temp.letters_of(kept.id)), 1, 'a refused retry cancels no dead letter') from kept;

select * from finish();
rollback;
