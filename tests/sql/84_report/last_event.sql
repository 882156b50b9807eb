begin;
select plan(2);

select is(underway.last_event(), 0::bigint, 'without events it is 0');
select underway._record_event('worker_lost');
select is(underway.last_event(), (select max(id) from underway.event), 'it is the id of the newest event');

select * from finish();
rollback;
