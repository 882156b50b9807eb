begin isolation level repeatable read;
select plan(2);

select throws_ok(
    $$ select underway._require_read_committed('maintain') $$, 'UW001',
    'maintain needs the isolation level read committed; this transaction is repeatable read',
    'a repeatable read transaction is refused by its name'
);
select matches(
    underway_test.hint_of($$ select underway._require_read_committed('maintain') $$), 'begin isolation level read committed',
    'the hint shows how to begin the transaction'
);

select * from finish();
rollback;
