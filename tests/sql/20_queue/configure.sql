-- settings of the whole schema

begin;
select plan(16);

create function pg_temp.settings() returns text language sql as $$
    select format('%s %s', s.max_input_size, s.max_output_size) from underway.settings s
$$;

select is(pg_temp.settings(), '1048576 16777216', 'at first an input may have 1 MiB and an output 16 MiB');

select underway.configure(max_input_size => '4 MB');
select is(pg_temp.settings(), '4194304 16777216', 'one setting is changed, the other keeps its value');

select underway.configure(max_output_size => '5000');
select is(pg_temp.settings(), '4194304 5000', 'a size without a unit is a number of bytes');

select underway.configure();
select is(pg_temp.settings(), '4194304 5000', 'without arguments nothing changes');

select lives_ok($$ select underway.configure('1 kB', '255 MB') $$, 'sizes from 1 kB to 255 MB are accepted');

select throws_ok(
    format('select underway.configure(max_input_size => %L)', given.size), 'UW001',
    format('max_input_size is %L', given.size), format('the size %L is refused', given.size)
)
from unnest(array['1023', '256 MB', '-1', '', 'much', '1e400 TB', repeat('9', 5000)]) as given (size);

select throws_ok(
    $$ select underway.configure(max_output_size => '1 B') $$, 'UW001', 'max_output_size is ''1 B''',
    'the message names the setting'
);

select is(
    underway_test.hint_of($$ select underway.configure('much') $$), 'Give a size from 1 kB to 255 MB, for example ''4 MB''.',
    'the hint gives the bounds'
);

select throws_ok(
    $$ insert into underway.setting (only_row) values (false) $$, '23514', null, 'there is no second row of settings'
);

-- an owner who is not a superuser

create role underway_test_owner;
grant usage on schema underway to underway_test_owner;
grant execute on function underway.configure(text, text) to underway_test_owner;
set local role underway_test_owner;
select underway.configure('2 MB');
reset role;
select is(pg_temp.settings(), '2097152 267386880', 'no rights of a superuser are needed');

select * from finish();
rollback;
