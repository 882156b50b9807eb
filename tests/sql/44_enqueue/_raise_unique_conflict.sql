-- a unique key that another task has

begin;
select plan(2);

select throws_ok(
    $$ select underway._raise_unique_conflict('email', 'it''s', 7) $$, 'UW010',
    $$the key 'it''s' of queue 'email' is taken by task 7$$, 'the refusal says which key, of which queue, and who has it'
);

select is(
    underway_test.hint_of($$ select underway._raise_unique_conflict('email', 'a', 7) $$),
    'Wait until that task is done or cancel it; to enqueue, on_conflict => ''return'' gives its id, and ''replace'' changes'
    ' it while it is pending.',
    'the hint says what else can be done'
);

select * from finish();
rollback;
