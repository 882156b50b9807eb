-- a repeatable-read snapshot may be too old to lock the row

begin isolation level repeatable read;
select plan(2);

select underway.create_queue('email');
select lives_ok($$ select underway._mark_queue_keyed('email') $$, 'a repeatable read transaction may call it');
select is(
    (select q.has_keys from underway.queue q where q.name = 'email'), false, 'a repeatable read transaction marks no queue'
);

select * from finish();
rollback;
