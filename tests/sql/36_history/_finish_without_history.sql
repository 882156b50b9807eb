-- a queue that keeps no history

begin;
select plan(11);

select underway.create_queue('email', keep_history => false);
select underway.create_queue('sms');

create temporary table sent as select underway_test.finished_task('succeeded') as id;

select results_eq(
    'select h.id, h.state::text, h.input, h.headers, h.errors from underway.task_history h',
    $$ select sent.id, 'succeeded', 'null'::jsonb, null::jsonb, null::jsonb from sent $$,
    'of a task that succeeded the history keeps its state, without input, headers and errors'
);
select is_empty('select from underway.task', 'a task that succeeded is not live any more');
select is(
    h.kept_until, h.finished_at + interval '1 day', 'the history keeps a success for a day'
)
from sent join underway.task_history h on h.id = sent.id;

select is(
    underway_test.state_of(underway.enqueue('sms', after => array[sent.id])), 'pending',
    'a task that comes after one that has already succeeded is ready at once'
)
from sent;

select is(underway.watch(sent.id), 'succeeded', 'a task that has already succeeded can be watched') from sent;

select underway.create_queue('short', keep_history => false, retention => '1 hour');
create temporary table short as select underway_test.finished_task('succeeded', 'short') as id;
select is(
    h.kept_until, h.finished_at + interval '1 hour', 'a queue with a shorter retention keeps a success that long'
)
from short join underway.task_history h on h.id = short.id;

select is(
    underway_test.state_of(underway_test.finished_task('succeeded', 'sms')), 'succeeded',
    'another queue keeps what it did'
);

select is(
    underway_test.state_of(underway_test.finished_task(s)), s::text, format('a task that is %s is kept', s)
)
from unnest('{failed,cancelled}'::underway.task_state[]) as s;

create temporary table watched as select * from underway_test.held_task();
select underway.complete(watched.id, watched.lease, '"sent"') from watched;

select is(
    i.output, '"sent"', 'the history keeps the output of a task that succeeded'
)
from watched, underway.task_info(watched.id) i;

-- fencing does not depend on the history

create temporary table twice as select * from underway_test.held_task();
select underway.complete(twice.id, twice.lease) from twice;

select throws_ok(
    $$ select underway.complete(twice.id, twice.lease) from twice $$, 'UW002', null,
    'a second completion is refused all the same'
);

select * from finish();
rollback;
