begin;
select plan(11);

select underway.create_queue('email');

create temporary table worker on commit drop as
select name, underway.register_worker(name, '{email}') as id
from unnest('{caller, other}'::text[]) as name;

create function pg_temp.set_idle(idle boolean)
returns void
language sql
as $$
    select underway.set_idle((select w.id from pg_temp.worker w where w.name = 'caller'), set_idle.idle)
$$;

select pg_temp.set_idle(true);

select results_eq(
    'select name, idle from underway.worker order by name',
    $$ values ('caller', true), ('other', false) $$,
    'set_idle changes only the given worker'
);

create temporary table before on commit drop as select ctid as place from underway.worker where name = 'caller';

select pg_temp.set_idle(true);

select results_eq(
    $$ select ctid from underway.worker where name = 'caller' $$, 'select place from before',
    'a call that changes nothing writes no row version'
);

select pg_temp.set_idle(null);

select is(
    (select idle from underway.worker where name = 'caller'), true,
    'null changes nothing'
);

select pg_temp.set_idle(false);

select is(
    (select idle from underway.worker where name = 'caller'), false,
    'a worker can report that it is busy again'
);

select lives_ok(
    $$ select underway.set_idle(-1, true), underway.set_idle(null, true) $$,
    'a worker id that does not exist is ignored'
);

select is_empty('select from underway.worker where idle', 'no other worker becomes idle');

-- only idle workers are notified: NOTIFY refuses a payload of 8000 bytes, so an error shows that it was called

update underway.worker set queues = array[repeat('q', 8000)] where name = 'caller';

select lives_ok($$ select underway._wake(repeat('q', 8000)) $$, 'a busy worker is not notified');

select pg_temp.set_idle(true);

select throws_ok($$ select underway._wake(repeat('q', 8000)) $$, '22023', null, 'an idle worker is notified');

-- a change counts as a sign of life

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select pg_temp.set_idle(false);

select is(
    (select seen_at from underway.worker where name = 'caller'), '2030-01-01 12:00:00+00',
    'a worker that reports a change is seen now'
);

select underway_test.advance_clock('10 seconds');
select pg_temp.set_idle(false);
select is(
    (select seen_at from underway.worker where name = 'caller'), '2030-01-01 12:00:00+00',
    'a worker that was seen ten seconds ago and reports no change writes nothing'
);

select underway_test.advance_clock('1 second');
select pg_temp.set_idle(false);
select is(
    (select seen_at from underway.worker where name = 'caller'), '2030-01-01 12:00:11+00',
    'after that a repeated report is a sign of life'
);

select * from finish();
rollback;
