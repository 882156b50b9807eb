begin;
select plan(6);

-- As in _wake.sql: a notification with the name of this queue is refused, which shows that one is sent.

select underway.create_queue('email');

create temporary table worker on commit drop as
select underway.register_worker('full', '{email}') as id;

select underway.set_idle(id, true) from worker;

insert into underway.worker (name, queues, idle, started_at, seen_at)
values ('other', array[repeat('o', 8000)], true, now(), now());

select throws_ok(
    $$ select underway.pass_on(id, array[repeat('o', 8000)]) from worker $$, '22023', 'payload string too long',
    'another worker that is idle is notified'
);

select lives_ok($$ select underway.pass_on(id, '{email, email}') from worker $$, 'nobody is notified where nobody else is idle');

select results_eq(
    'select name, idle from underway.worker order by name',
    $$ values ('full', false), ('other', true) $$,
    'the worker itself is not idle any more'
);

select lives_ok($$ select underway.pass_on(id, '{email, email}') from worker $$, 'it may be said twice');

select underway.set_idle(id, true) from worker;
select throws_ok(
    $$ select underway.pass_on(id, array[repeat('x', 8000)], stays_idle => true) from worker $$, '22023', 'payload string too long',
    'a worker that stays idle for other queues notifies all that listen'
);
select underway.pass_on(id, '{email}', stays_idle => true) from worker;
select is((select idle from underway.worker where name = 'full'), true, 'and stays idle');

select * from finish();
rollback;
