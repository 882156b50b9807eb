-- keys of tasks: what is refused

begin;
select plan(25);

-- the keys of two tasks, with none but those that are given

create function pg_temp.check_keys(
    inputs jsonb[] default '{1,2}',
    unique_keys text[] default null,
    on_conflict text default 'return',
    unique_for interval default null,
    unique_until text default 'finish',
    concurrency_key text default null
)
returns void language sql as $$
    select underway._check_keys(check_keys.inputs, check_keys.unique_keys, row(
        null, null, null, 0, null, null, null, null, null, null, null, check_keys.on_conflict, check_keys.unique_for,
        check_keys.unique_until, check_keys.concurrency_key, null, 'wait'
    )::underway.task_options)
$$;

select lives_ok($$ select pg_temp.check_keys() $$, 'no keys are fine');

select lives_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a,null}', on_conflict => 'error', concurrency_key => 'c') $$,
    'some of the tasks may have a unique key'
);

select lives_ok(
    $$ select pg_temp.check_keys('{}', '{}', unique_for => '1 hour') $$, 'no inputs need no key'
);

-- a key for each input

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a}') $$, 'UW001', '1 unique keys are given for 2 inputs',
    'too few unique keys are refused'
);

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a,b,c}') $$, 'UW001', '3 unique keys are given for 2 inputs',
    'too many unique keys are refused'
);

-- their length

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => array['a', '']) $$, 'UW001', 'unique key 2 has 0 bytes',
    'an empty unique key is refused with its place'
);

select lives_ok(
    $$ select pg_temp.check_keys(unique_keys => array[repeat('ä', 512), 'b']) $$, 'a unique key may have 1024 bytes'
);

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => array[repeat('ä', 512) || 'x', 'b']) $$, 'UW001',
    'unique key 1 has 1025 bytes', 'a unique key of more bytes is refused'
);

select throws_ok(
    $$ select pg_temp.check_keys(concurrency_key => '') $$, 'UW001', 'the concurrency key has 0 bytes',
    'an empty concurrency key is refused'
);

select lives_ok(
    $$ select pg_temp.check_keys(concurrency_key => repeat('x', 1024)) $$, 'a concurrency key may have 1024 bytes'
);

select throws_ok(
    $$ select pg_temp.check_keys(concurrency_key => repeat('x', 1025)) $$, 'UW001',
    'the concurrency key has 1025 bytes', 'a concurrency key of more bytes is refused'
);

select is(
    underway_test.hint_of($$ select pg_temp.check_keys(concurrency_key => '') $$),
    'Give 1 to 1024 bytes of text; null for no key.', 'the hint gives the bounds'
);

-- on_conflict

select lives_ok(
    format($$ select pg_temp.check_keys(on_conflict => %L) $$, given.word), format('on_conflict may be %s', given.word)
)
from unnest('{return,error,replace}'::text[]) as given (word);

select throws_ok(
    $$ select pg_temp.check_keys(on_conflict => 'ignore') $$, 'UW001', $$on_conflict is 'ignore'$$,
    'another on_conflict is refused'
);

select throws_ok(
    $$ select pg_temp.check_keys(on_conflict => null) $$, 'UW001', 'on_conflict is NULL',
    'an on_conflict that is null is refused'
);

-- unique_for

select throws_ok(
    $$ select pg_temp.check_keys(unique_for => '1 hour') $$, 'UW001',
    'unique_for 01:00:00 is given without a unique key', 'a unique_for without unique keys is refused'
);

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => '{null,null}', unique_for => '1 hour') $$, 'UW001',
    'unique_for 01:00:00 is given without a unique key', 'a unique_for with unique keys that are all null is refused'
);

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a,b}', unique_for => '0') $$, 'UW001', 'unique_for is 00:00:00',
    'a unique_for of nothing is refused'
);

-- unique_until

select lives_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a,null}', unique_until => 'start') $$, 'a key may last until the start'
);

select throws_ok(
    $$ select pg_temp.check_keys(unique_until => 'start') $$, 'UW001',
    'unique_until ''start'' is given without a unique key', 'unique_until ''start'' without unique keys is refused'
);

select throws_ok(
    format($$ select pg_temp.check_keys(unique_keys => '{a,b}', unique_until => %L) $$, given.word), 'UW001',
    format('unique_until is %L', given.word), format('unique_until %L is refused', given.word)
)
from (values ('end'), (null)) as given (word);

select throws_ok(
    $$ select pg_temp.check_keys(unique_keys => '{a,b}', unique_for => '1 hour', unique_until => 'start') $$, 'UW001',
    'both unique_for 01:00:00 and unique_until ''start'' are given', 'unique_for excludes unique_until ''start'''
);

select * from finish();
rollback;
