begin;
select plan(4);

select throws_ok(
    $$ select underway._raise_schedule_not_found('nightly') $$,
    'UW009', 'schedule ''nightly'' does not exist',
    'the message names the schedule'
);

select throws_ok(
    $$ select underway._raise_schedule_not_found('it''s') $$,
    'UW009', 'schedule ''it''''s'' does not exist',
    'the name in the message is quoted'
);

select matches(
    underway_test.hint_of($$ select underway._raise_schedule_not_found('nightly') $$),
    'underway\.schedule_stats.*underway\.schedule\(\)',
    'the hint names the view of the schedules and the function that creates one'
);

select throws_ok(
    $$ select underway._raise_schedule_not_found(null) $$,
    'UW009', null,
    'a null name raises the same error'
);

select * from finish();
rollback;
