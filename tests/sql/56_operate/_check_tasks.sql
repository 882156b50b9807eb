begin;
select plan(4);

select is(underway._check_tasks('{3,1,null,3}'), '{1,3}', 'ids are returned in order, each once');
select is(underway._check_tasks(null), '{}', 'no ids are an empty list');
select lives_ok('select underway._check_tasks(array_fill(1::bigint, array[1000]))', 'a thousand ids are taken');
select throws_ok(
    'select underway._check_tasks(array_fill(1::bigint, array[1001]))', 'UW001', '1001 tasks were given; the limit is 1000',
    'more are refused'
);

select * from finish();
rollback;
