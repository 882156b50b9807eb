begin;
select plan(10);

-- What is notified shows in no transaction that rolls back. But a payload of 8000 bytes is refused by NOTIFY, so a queue
-- of that name tells whether there was one.

insert into underway.worker (name, queues, idle, started_at, seen_at)
values
    ('one that sleeps', array['invoice', repeat('i', 8000)], true, now(), now()),
    ('one that works', array[repeat('b', 8000)], false, now(), now());

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
    'the name of the queue is all that is sent'
);

-- a task that is due later

select throws_ok(
    format('select underway._wake(repeat(%L, 8000), %L)', 'i', given.delay),
    '22023', null,
    format('an idle worker is notified of a task that is due in %s', given.delay)
)
from (values ('0'), ('-1 hour'), ('0.999999 seconds')) as given (delay);

select lives_ok(
    format('select underway._wake(repeat(%L, 8000), %L)', 'i', given.delay),
    format('nobody is notified of a task that is due in %s', given.delay)
)
from (values ('1 second'), ('1 day')) as given (delay);

-- a worker that wakes up

update underway.worker set idle = false;

select lives_ok(
    $$ select underway._wake(repeat('i', 8000)) $$,
    'a worker that has woken up is not notified again'
);

select * from finish();
rollback;
