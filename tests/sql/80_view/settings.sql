-- the settings as a view

begin;
select plan(2);

select is(
    (select s.max_input_size from underway.settings s), 1048576::bigint, 'the view shows the largest input in bytes'
);

select underway.configure(max_output_size => '2 MB');
select is(
    (select s.max_output_size from underway.settings s), 2097152::bigint, 'the view shows a changed setting'
);

select * from finish();
rollback;
