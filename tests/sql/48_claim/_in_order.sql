-- places of tasks come in the order in which the tasks became ready

begin;
select plan(2);

select underway.create_queue('email');

-- Whoever is rescheduled stands elsewhere than its place says.
create temporary table task as
select id, number
from unnest(underway.enqueue_many('email', array['1', '2', '3', '4']::jsonb[])) with ordinality as made (id, number);
select underway.reschedule(id, underway._clock()) from task where number = 1;

select results_eq(
    $$
        select t.input::text
        from unnest(underway._in_order(array(select ctid from underway.task order by ctid))) with ordinality as line (place, turn)
        join underway.task t on t.ctid = line.place
        order by line.turn
    $$,
    array['2', '3', '4', '1'],
    'tasks that became ready first come first, those of one time in the order of their ids'
);
select is(underway._in_order('{}'), '{}', 'none stay none');

select * from finish();
rollback;
