begin;
select plan(12);

select underway.create_queue('email');
select underway.create_queue('sms');

select lives_ok($$ select underway._check_claim('{email,sms}', 1) $$, 'a claim of one task from queues that exist is accepted');

select lives_ok($$ select underway._check_claim('{email}', 0) $$, 'a claim of 0 tasks is accepted');

select lives_ok($$ select underway._check_claim('{email}', 10000) $$, 'a claim of 10000 tasks is accepted');

select lives_ok($$ select underway._check_claim('{}', 1) $$, 'a claim from an empty array of queues is accepted');

select throws_ok(
    $$ select underway._check_claim('{email}', -1) $$, 'UW001', 'max_tasks is -1',
    'a negative number of tasks is refused, and the message contains it'
);

select throws_ok(
    $$ select underway._check_claim('{email}', 10001) $$, 'UW001', 'max_tasks is 10001',
    'more than 10000 tasks are refused, and the message contains the number'
);

select throws_ok(
    $$ select underway._check_claim('{email}', null) $$, 'UW001', 'max_tasks is null',
    'a number of tasks that is null is refused'
);

select is(
    underway_test.hint_of($$ select underway._check_claim('{email}', 10001) $$),
    'Claim 0 to 10000 tasks per call.',
    'the hint gives the bounds'
);

select throws_ok(
    $$ select underway._check_claim('{email,fax}', 1) $$, 'UW003', $$queue 'fax' does not exist$$,
    'a queue that does not exist is refused, and the message names it'
);

select is(
    underway_test.hint_of($$ select underway._check_claim('{email,fax}', 1) $$),
    $$Create it first: select underway.create_queue('fax');$$,
    'the hint is the call that would create the queue'
);

select throws_ok(
    $$ select underway._check_claim(array['email', null], 1) $$, 'UW003', 'queue NULL does not exist',
    'a queue name that is null is refused'
);

select throws_ok(
    $$ select underway._check_claim(null, 1) $$, 'UW003', 'queue NULL does not exist',
    'an array of queues that is null is refused'
);

select * from finish();
rollback;
