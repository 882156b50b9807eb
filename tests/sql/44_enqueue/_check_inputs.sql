-- inputs: none is null, none is larger than the setting allows

begin;
select plan(15);

select lives_ok($$ select underway._check_inputs(array['{}', '"a"', '1', '[]']::jsonb[]) $$, 'any JSON is an input');

select lives_ok($$ select underway._check_inputs(array['null']::jsonb[]) $$, 'the JSON null is an input');

select lives_ok($$ select underway._check_inputs('{}') $$, 'no inputs pass');

select throws_ok(
    $$ select underway._check_inputs(array['1', '2', null]::jsonb[]) $$, 'UW001', 'input 3 is null',
    'an input that is null is refused with its place'
);

select throws_ok(
    $$ select underway._check_inputs(null) $$, 'UW001', 'the inputs are null',
    'inputs that are null as a whole are refused as such'
);

select is(
    underway_test.hint_of($$ select underway._check_inputs(array[null]::jsonb[]) $$),
    $$Give a JSON value for each task; the JSON null is 'null'.$$,
    'the hint tells the null of SQL from that of JSON'
);

-- a JSON string has its two quotes

select lives_ok(
    $$ select underway._check_inputs(array[to_jsonb(repeat('a', 1048574))]) $$,
    'an input of exactly 1 MiB passes'
);

select throws_ok(
    $$ select underway._check_inputs(array[to_jsonb(repeat('a', 1048575))]) $$,
    'UW007', 'input 1 has 1048577 bytes of text; the limit is 1048576',
    'an input one byte larger than 1 MiB is refused with its size and the limit'
);

select matches(
    underway_test.hint_of($$ select underway._check_inputs(array[to_jsonb(repeat('a', 1048575))]) $$),
    'select underway\.configure\(max_input_size => ''4 MB''\);',
    'the hint is the call that raises the limit'
);

select throws_ok(
    $$ select underway._check_inputs(array[to_jsonb(repeat('ü', 524288))]) $$,
    'UW007', 'input 1 has 1048578 bytes of text; the limit is 1048576',
    'bytes count, not characters'
);

select underway.configure(max_input_size => '10 kB');

select lives_ok(
    $$ select underway._check_inputs(array[to_jsonb(repeat('a', 10238))]) $$,
    'an input of exactly the size that is set passes'
);

select throws_ok(
    $$ select underway._check_inputs(array['1', to_jsonb(repeat('a', 10239)), to_jsonb(repeat('a', 20000))]) $$,
    'UW007', 'input 2 has 10241 bytes of text; the limit is 10240',
    'the first input that is too large is named'
);

select underway.configure(max_input_size => '2 MB');

select lives_ok(
    $$ select underway._check_inputs(array[to_jsonb(repeat('a', 2097150))]) $$,
    'the limit may be raised'
);

select underway.create_queue('email');
select lives_ok(
    $$ select underway.enqueue('email', to_jsonb(repeat('a', 2097150))) $$, 'enqueue has the same limit'
);

select throws_ok(
    $$ select underway.enqueue('email', to_jsonb(repeat('a', 2097151))) $$,
    'UW007', 'input 1 has 2097153 bytes of text; the limit is 2097152', 'enqueue refuses one byte more'
);

select * from finish();
rollback;
