begin;
select plan(16);

-- A transaction that is rolled back sends no notification. But NOTIFY refuses a payload of 8000 bytes at once, so a queue
-- with a name of that length shows whether _wake calls it.

insert into underway.worker (name, queues, idle, started_at, seen_at)
values
    ('idle', array['invoice', repeat('i', 8000)], true, now(), now()),
    ('busy', array[repeat('b', 8000)], false, now(), now());

select throws_ok(
    $$ select underway._wake(repeat('i', 8000)) $$,
    '22023', 'payload string too long',
    'an idle worker of the queue is notified'
);

select lives_ok(
    $$ select underway._wake(repeat('b', 8000)) $$,
    'nobody is notified while all workers of the queue are busy'
);

select lives_ok(
    $$ select underway._wake(repeat('o', 8000)) $$,
    'nobody is notified while the idle workers serve other queues'
);

select lives_ok(
    $$ select underway._wake('invoice') $$,
    'the payload of the notification is only the name of the queue'
);

-- ten or more idle workers; that two of them are notified is shown in tests/py/test_notify.py

insert into underway.worker (name, queues, idle, started_at, seen_at)
select 'many', array['many', repeat('m', 8000)], true, now(), now()
from generate_series(1, 12);

select lives_ok($$ select underway._wake('many') $$, 'two of many idle workers are notified');

select throws_ok(
    $$ select underway._wake(repeat('m', 8000)) $$, '22023', 'payload string too long', 'and of a queue with any name'
);

delete from underway.worker where name = 'many';

-- the time at which the task is due

select throws_ok(
    format('select underway._wake(repeat(%L, 8000), %L)', 'i', given.delay),
    '22023', null,
    format('an idle worker is notified of a task that is due in %s', given.delay)
)
from (values ('0'), ('-1 hour'), ('1.999999 seconds')) as given (delay);

select lives_ok(
    format('select underway._wake(repeat(%L, 8000), %L)', 'i', given.delay),
    format('nobody is notified of a task that is due in %s', given.delay)
)
from (values ('2 seconds'), ('1 day')) as given (delay);

-- a worker that has crashed

update underway.worker set seen_at = underway._clock() - interval '29 seconds' where idle;
select throws_ok(
    $$ select underway._wake(repeat('i', 8000)) $$, '22023', null,
    'an idle worker that was seen 29 seconds ago is notified'
);

update underway.worker set seen_at = underway._clock() - interval '31 seconds' where idle;
select lives_ok(
    $$ select underway._wake(repeat('i', 8000)) $$,
    'an idle worker that was not seen for 30 seconds is not notified'
);

-- a clock that was ahead and was set back

update underway.worker set seen_at = underway._clock() + interval '1 day' where idle;
select lives_ok(
    $$ select underway._wake(repeat('i', 8000)) $$,
    'an idle worker that was seen at a time in the future is not notified'
);
select underway.set_idle(w.id, false), underway.set_idle(w.id, true) from underway.worker w where w.idle;
select throws_ok(
    $$ select underway._wake(repeat('i', 8000)) $$, '22023', null,
    'a worker that reports itself idle is notified again'
);

-- a worker that is busy again

update underway.worker set idle = false;

select lives_ok(
    $$ select underway._wake(repeat('i', 8000)) $$,
    'a worker that is busy again is not notified'
);

select * from finish();
rollback;
