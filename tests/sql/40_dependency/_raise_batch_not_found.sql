begin;
select plan(2);

select throws_ok(
    'select underway._raise_batch_not_found(7)', 'UW012', 'batch 7 does not exist', 'a batch that does not exist is refused'
);

select is(
    underway_test.hint_of('select underway._raise_batch_not_found(7)'),
    'Its retention is over, its transaction was rolled back, or this is the id of a task.',
    'the hint names the reasons for which a batch is unknown'
);

select * from finish();
rollback;
