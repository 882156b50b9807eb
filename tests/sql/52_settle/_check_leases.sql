-- tasks and leases pair up, or nothing is done

begin;
select plan(10);

select lives_ok(
    $$ select underway._check_leases('{7,8}', array[gen_random_uuid(), gen_random_uuid()]) $$,
    'one lease for each task passes'
);

select lives_ok($$ select underway._check_leases('{}', '{}') $$, 'an empty batch passes');

select lives_ok($$ select underway._check_leases(null, null) $$, 'a batch of nothing at all passes');

select throws_ok(
    $$ select underway._check_leases('{7,8}', array[gen_random_uuid()]) $$,
    'UW001', '2 tasks and 1 leases',
    'a lease too few is refused with both numbers'
);

select throws_ok(
    $$ select underway._check_leases('{7}', array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()]) $$,
    'UW001', '1 tasks and 3 leases',
    'a lease too many is refused with both numbers'
);

select throws_ok(
    $$ select underway._check_leases('{7}', null) $$,
    'UW001', '1 tasks and 0 leases',
    'tasks without leases are refused'
);

select throws_ok(
    $$ select underway._check_leases(null, array[gen_random_uuid()]) $$,
    'UW001', '0 tasks and 1 leases',
    'leases without tasks are refused'
);

select is(
    underway_test.hint_of($$ select underway._check_leases('{7}', '{}') $$),
    'Give one lease for each task, in the same order.',
    'the hint says how tasks and leases pair up'
);

select throws_ok(
    $$ select underway._check_leases('{7,8,9}', array[gen_random_uuid(), null, gen_random_uuid()]) $$,
    'UW001', 'the lease of task 8 is null',
    'a null lease is refused with the task it was given for'
);

select throws_ok(
    $$ select underway._check_leases('{7}', array[null::uuid]) $$,
    'UW001', 'the lease of task 7 is null',
    'a lone null lease is refused'
);

select * from finish();
rollback;
