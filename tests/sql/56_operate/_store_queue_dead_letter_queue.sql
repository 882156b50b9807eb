begin;
select plan(15);

create function pg_temp.dead_letter_queue_of(name text)
returns text
language sql
as $$
    select q.dead_letter_queue::text from underway.queue q where q.name = dead_letter_queue_of.name
$$;

select underway.create_queue('third');
select underway.create_queue('second', dead_letter_queue => 'third');
select underway.create_queue('first', dead_letter_queue => 'second');

select is(pg_temp.dead_letter_queue_of('first'), 'second', 'a queue may have one that has one itself');

select underway.create_queue('beside', dead_letter_queue => 'second');

select is(pg_temp.dead_letter_queue_of('beside'), 'second', 'two queues may share one');

-- cycles

select throws_ok(
    $$ select underway.create_queue('new', dead_letter_queue => 'new') $$,
    'UW001', 'queue ''new'' cannot have the dead-letter queue ''new'': its dead letters would come back to it',
    'a new queue cannot be its own dead-letter queue'
);

select throws_ok(
    $$ select underway.create_queue('third', dead_letter_queue => 'third') $$,
    'UW001', null,
    'a queue cannot become its own dead-letter queue'
);

select throws_ok(
    $$ select underway.create_queue('third', dead_letter_queue => 'second') $$,
    'UW001', 'queue ''third'' cannot have the dead-letter queue ''second'': its dead letters would come back to it',
    'two queues cannot be the dead-letter queue of each other'
);

select throws_ok(
    $$ select underway.create_queue('third', dead_letter_queue => 'first') $$,
    'UW001', null,
    'dead letters cannot come back over a third queue either'
);

select is(pg_temp.dead_letter_queue_of('third'), null, 'a refusal leaves the queue as it was');

-- a queue that does not exist

select throws_ok(
    $$ select underway.create_queue('fourth', dead_letter_queue => 'nowhere') $$,
    'UW003', 'queue ''nowhere'' does not exist',
    'a dead-letter queue that does not exist is refused by its name'
);

select is_empty(
    $$ select from underway.queue where name in ('fourth', 'nowhere') $$,
    'a refusal creates neither queue'
);

select throws_ok(
    $$ select underway.create_queue('first', dead_letter_queue => 'nowhere') $$,
    'UW003', null,
    'a queue that exists is refused it too'
);

select is(pg_temp.dead_letter_queue_of('first'), 'second', 'a refusal keeps the former one');

-- taking it away

select underway.create_queue('second', dead_letter_queue => '');

select is(pg_temp.dead_letter_queue_of('second'), null, 'an empty name takes it away');
select is(pg_temp.dead_letter_queue_of('first'), 'second', 'taking it away concerns one queue only');

select lives_ok(
    $$ select underway.create_queue('third', dead_letter_queue => 'second') $$,
    'what was a cycle with it is none without it'
);

select underway.create_queue('plain', dead_letter_queue => '');

select is(pg_temp.dead_letter_queue_of('plain'), null, 'a new queue may be created with an empty name for it');

select * from finish();
rollback;
