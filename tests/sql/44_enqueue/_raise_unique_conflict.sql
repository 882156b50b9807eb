-- a unique key that another task holds

begin;
select plan(2);

select throws_ok(
    $$ select underway._raise_unique_conflict('email', 'it''s', 7) $$, 'UW010',
    $$the key 'it''s' of queue 'email' is taken by task 7$$, 'the message names the key, its queue and the task that holds it'
);

select is(
    underway_test.hint_of($$ select underway._raise_unique_conflict('email', 'a', 7) $$),
    'Wait until that task has ended, or cancel it. When you enqueue, on_conflict => ''return'' returns its id, and'
    ' ''replace'' changes it while it is pending.',
    'the hint names the alternatives'
);

select * from finish();
rollback;
