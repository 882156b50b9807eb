-- an old snapshot does not show what runs

begin isolation level repeatable read;
select plan(8);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');
select underway.create_queue('letter', max_running => 1);
select underway_test.keyed_tasks('a1');
select underway_test.keyed_tasks('1', 'sms');
select underway_test.keyed_tasks('2', 'letter');

select throws_ok(
    $$ select underway.dequeue('email') $$,
    'UW001', 'queue ''email'' has limits, and this transaction is repeatable read',
    'in a transaction of one snapshot nobody claims from a queue with keys'
);
select is(
    underway_test.hint_of($$ select underway.dequeue('email') $$),
    'Claim from it in a transaction that is read committed: an old snapshot does not show what runs.',
    'the hint says in which it may be'
);
select throws_ok(
    $$ select underway.dequeue('letter') $$, 'UW001', null, 'nor from one with another limit'
);
select throws_ok(
    $$ select underway.dequeue('{sms,letter}'::text[], 2) $$, 'UW001', null, 'nor from several of which one has a limit'
);
select is(underway_test.claimed(100, 'sms'), '1', 'from a queue without limits it may claim');
select is(
    (select count(*) from underway.task where state = 'in_progress'), 1::bigint,
    'a claim that was refused claims nothing'
);

-- a limit that is taken away

select underway.create_queue('letter', max_running => 0, rate_limit => 5);
select throws_ok($$ select underway.dequeue('letter') $$, 'UW001', null, 'a rate is a limit too');
select underway.create_queue('letter', rate_limit => 0);
select is(underway_test.claimed(100, 'letter'), '2', 'and where all are taken away, it may claim');

select * from finish();
rollback;
