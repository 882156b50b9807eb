-- priorities: from -100 to 100

begin;
select plan(6);

select lives_ok(
    $$ select underway._check_priority(-100), underway._check_priority(0), underway._check_priority(100) $$,
    'a priority from -100 to 100 is accepted'
);

select throws_ok(
    format($$ select underway._check_priority(%s) $$, given.priority), 'UW001', 'priority is ' || given.priority,
    format('the priority %s is refused', given.priority)
)
from unnest('{101,-101,2147483647}'::integer[]) as given (priority);

select throws_ok(
    $$ select underway._check_priority(null) $$, 'UW001', 'priority is null', 'a priority that is null is refused'
);

select is(
    underway_test.hint_of($$ select underway._check_priority(101) $$),
    'Give an integer from -100 to 100; 0 is the default, and higher runs first.', 'the hint gives the bounds'
);

select * from finish();
rollback;
