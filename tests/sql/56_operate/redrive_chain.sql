-- dead letters of dead letters go back the way they came

begin;
select plan(17);

select underway_test.stop_clock();
select underway.create_queue('last_letters');
select underway.create_queue('letters', dead_letter_queue => 'last_letters', retry_policy => underway.retry_policy(1));
select underway.create_queue('email', dead_letter_queue => 'letters', retry_policy => underway.retry_policy(1));

create function pg_temp.claim_and_fail(queue text, error text) returns bigint language plpgsql as $$
declare
    v_claimed underway.claimed_task;
begin
    perform underway_test.advance_clock('1 minute');
    select claimed.* into strict v_claimed from underway.dequeue(claim_and_fail.queue) as claimed;
    perform underway.fail(v_claimed.id, v_claimed.lease, to_jsonb(claim_and_fail.error));
    return v_claimed.id;
end;
$$;

create temp table task as select underway.enqueue('email', '"hello"', job => 'send_mail') as id;

select is(pg_temp.claim_and_fail('email', 'no server'), task.id, 'the task fails') from task;

create temp table letter as select pg_temp.claim_and_fail('letters', 'no operator') as id;
create temp table last_letter as select t.id, t.dead_letter from underway.task t where t.queue = 'last_letters';

select is(
    (last_letter.dead_letter ->> 'task')::bigint, letter.id,
    'a dead letter that fails for good leaves a dead letter itself'
)
from last_letter, letter;

select is((last_letter.dead_letter #>> '{dead_letter,task}')::bigint, task.id, 'the second dead letter contains the first')
from last_letter, task;

select is(last_letter.dead_letter #>> '{error,message}', 'no operator', 'beside its own error') from last_letter;

select is(last_letter.dead_letter #>> '{dead_letter,error,message}', 'no server', 'the second dead letter keeps the content of the first') from last_letter;

-- one step back

select is(underway.redrive('last_letters'), 1, 'the last dead letter goes back');

select results_eq(
    $$
        select t.id, t.queue = 'letters', t.state::text, t.attempt, t.dead_letter ->> 'task', t.dead_letter #>> '{error,message}',
            t.dead_letter ? 'dead_letter', t.input, t.job
        from underway.task t
    $$,
    $$ select letter.id, true, 'pending', 0, task.id::text, 'no server', false, '"hello"'::jsonb, 'send_mail' from letter, task $$,
    'a redriven second letter is the first letter again, under its own id and with its content'
);

select is(
    i.errors #>> '{0,message}', 'no operator', 'a redriven second letter has the errors of the first'
)
from letter, underway.task_info(letter.id) i;

-- another step

select is(underway.redrive('letters'), 1, 'the first dead letter goes back');

select results_eq(
    $$ select t.id, t.queue = 'email', t.state::text, t.attempt, t.dead_letter, t.input, t.job, t.enqueued_at from underway.task t $$,
    $$
        select task.id, true, 'pending', 0, null::jsonb, '"hello"'::jsonb, 'send_mail', '2030-01-01 12:00:00+00'::timestamptz
        from task
    $$,
    'a redriven first letter is the task that was enqueued, under its own id'
);

select is(
    (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e), array['no server'],
    'the redriven task has its own errors, and none of its letters'
)
from task, underway.task_info(task.id) i;

select is_empty($$ select from underway.task_history $$, 'nothing is left in the history');

-- there and back, several times

select pg_temp.claim_and_fail('email', 'still no server');
select underway.redrive('letters');
select pg_temp.claim_and_fail('email', 'no server again');
select underway.redrive('letters');

select results_eq(
    $$ select i.id, i.state::text, (select array_agg(e ->> 'message') from jsonb_array_elements(i.errors) as e) from underway.task t, underway.task_info(t.id) i $$,
    $$ select task.id, 'pending', array['no server', 'still no server', 'no server again'] from task $$,
    'however often it goes, it stays one task with all its errors'
);

create temp table claimed as select * from underway.dequeue('email');
select underway.complete(claimed.id, claimed.lease) from claimed;

select is(underway_test.state_of(task.id), 'succeeded', 'a task may fail and be redriven until it succeeds') from task;

-- a batch that shares all the stations

delete from underway.task;
select underway.enqueue_many('email', array(select to_jsonb(number) from generate_series(1, 10) as number));
create temp table original as select t.id, t.input from underway.task t;

create function pg_temp.fail_all(queue text) returns bigint language sql as $$
    select count(*) from underway.dequeue(fail_all.queue, 100) as c,
    underway.fail(c.id, c.lease, '"x"', retryable => false)
$$;

select pg_temp.fail_all('email');
select pg_temp.fail_all('letters');

select is(underway.redrive('last_letters'), 10, 'a batch goes one step back');
select is(underway.redrive('letters'), 10, 'and another');

select results_eq(
    $$ select claimed_.id, claimed_.input from underway.dequeue('email', 100) as claimed_ $$,
    $$ select original.id, original.input from original order by original.id $$,
    'each is the task that it was, in the order of insertion'
);

select * from finish();
rollback;
