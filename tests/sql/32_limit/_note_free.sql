-- what was parked and may run is noted, once

begin;
select plan(7);

select underway.create_queue('email', fair => true);

select underway._note_free('email', '{b,a}');
select is(underway_test.line(), 'b a', 'keys are noted, each at the end of the line');
select underway._note_free('email', '{a,c,b}');
select is(underway_test.line(), 'b a c', 'a note that is there will do');
select underway._note_free('email', '{""}');
select underway._note_free('email', '{""}');
select is(underway_test.line(), 'b a c -', 'what has no key is noted as well');
select underway._note_free('sms', '{a}');
select is(underway_test.line('sms'), 'a', 'each queue has its own');
select underway._note_free('email', null);
select underway._note_free('email', '{}');
select is(underway_test.line(), 'b a c -', 'no keys are no notes');

-- a note that says when to look

insert into underway.ready_key (queue, concurrency_key, check_at) values ('email', 'd', underway._clock() + '1 minute');
select underway._note_free('email', '{d}');
select is(underway_test.line(), 'b a c - d', 'one that tells when a token comes will not do');

-- several that are there

insert into underway.ready_key (queue, concurrency_key) values ('email', 'a'), ('email', 'a');
select underway._note_free('email', '{a}');
select is((select count(*) from underway.ready_key where concurrency_key = 'a' and queue = 'email'), 3::bigint,
    'of several any will do');

select * from finish();
rollback;
