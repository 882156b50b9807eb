begin;
select plan(2);

select is(underway._max_input_size(), 1048576::bigint, 'an input may have 1 MB at first');
select underway.configure(max_input_size => '1 kB');
select is(underway._max_input_size(), 1024::bigint, 'the limit is never below 1 kB, up to which enqueue_many does not ask');

select * from finish();
rollback;
