-- a note that an old snapshot shows may be gone

begin isolation level repeatable read;
select plan(2);

select underway.create_queue('email', fair => true);
select underway._note_free('email', '{a,b}');
select is(underway_test.line(), 'a b', 'in a transaction of one snapshot keys are noted');
select underway._note_free('email', '{b}');
select is(underway_test.line(), 'a b b', 'whether a note is there or not');

select * from finish();
rollback;
