begin isolation level repeatable read;
select plan(3);

select underway.create_queue('email', max_running => 4);
select underway.enqueue('email');

select throws_ok(
    $$ select underway._claim_capacity('email', 1, underway._clock()) $$, 'UW001',
    'queue ''email'' has limits, and this transaction is repeatable read',
    'a claim within limits in a repeatable read transaction is refused'
);
select is(
    underway_test.hint_of($$ select underway.dequeue('email') $$),
    'Claim from it in a read committed transaction: an older snapshot does not show what runs.',
    'the hint says in which transaction to claim'
);
select underway.create_queue('email', max_running => 0);
select is(
    (select count(*) from underway.dequeue('email')), 1::bigint,
    'a queue without limits can be claimed from in a repeatable read transaction'
);

select * from finish();
rollback;
