begin;
select plan(8);

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
    'a worker says that it sleeps, for itself alone'
);

create temporary table before on commit drop as select ctid as place from underway.worker where name = 'caller';

select pg_temp.set_idle(true);

select results_eq(
    $$ select ctid from underway.worker where name = 'caller' $$, 'select place from before',
    'what is known already is not written again'
);

select pg_temp.set_idle(null);

select is(
    (select idle from underway.worker where name = 'caller'), true,
    'who says neither changes nothing'
);

select pg_temp.set_idle(false);

select is(
    (select idle from underway.worker where name = 'caller'), false,
    'a worker says that it is awake'
);

select lives_ok(
    $$ select underway.set_idle(-1, true), underway.set_idle(null, true) $$,
    'a worker that was forgotten meanwhile is passed over'
);

select is_empty('select from underway.worker where idle', 'nobody else sleeps thereby');

-- only then does an enqueue notify: NOTIFY refuses a payload of 8000 bytes

update underway.worker set queues = array[repeat('q', 8000)] where name = 'caller';

select lives_ok($$ select underway._wake(repeat('q', 8000)) $$, 'a worker that is awake is not notified');

select pg_temp.set_idle(true);

select throws_ok($$ select underway._wake(repeat('q', 8000)) $$, '22023', null, 'a worker that sleeps is notified');

select * from finish();
rollback;
