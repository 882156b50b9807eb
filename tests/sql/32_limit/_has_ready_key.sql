begin;
select plan(4);

select underway_test.stop_clock();
select is(underway._has_ready_key('email', underway._clock()), false, 'there is no key to look at');
insert into underway.ready_key (queue, concurrency_key, check_at) values ('email', 'a', underway._clock() + '1 second');
select is(underway._has_ready_key('email', underway._clock()), false, 'nor is there one before its time');
select is(underway._has_ready_key('email', underway._clock() + '1 second'), true, 'at its time there is one');
select is(underway._has_ready_key('other', underway._clock() + '1 second'), false, 'another queue has none');

select * from finish();
rollback;
