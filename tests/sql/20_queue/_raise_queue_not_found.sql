begin;
select plan(4);

select throws_ok(
    $$ select underway._raise_queue_not_found('email') $$,
    'UW003', 'queue ''email'' does not exist',
    'the message names the queue'
);

select is(
    underway_test.hint_of($$ select underway._raise_queue_not_found('email') $$),
    'Create it first: select underway.create_queue(''email'');',
    'the hint is the call that creates the queue'
);

select is(
    underway_test.hint_of($$ select underway._raise_queue_not_found('it''s') $$),
    'Create it first: select underway.create_queue(''it''''s'');',
    'the name in the hint is quoted, so that the call can be run unchanged'
);

select throws_ok(
    $$ select underway._raise_queue_not_found(null) $$,
    'UW003', null,
    'a null name is refused with the same error'
);

select * from finish();
rollback;
