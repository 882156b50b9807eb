begin;
select plan(4);

create function pg_temp.priorities(queue text) returns text language sql as $$
    select coalesce(string_agg(p.priority::text, ' ' order by p.id), '')
    from underway.queue_priority p
    where p.queue = priorities.queue
$$;

select underway._ensure_priority('email', 5);
select is(pg_temp.priorities('email'), '5', 'a new priority is recorded');
select underway._ensure_priority('email', 5);
select is(pg_temp.priorities('email'), '5', 'a priority that is recorded already is not recorded again');
select underway._ensure_priority('email', -5), underway._ensure_priority('sms', 5);
select is(pg_temp.priorities('email'), '5 -5', 'another priority of a queue is recorded beside the first');
select is(pg_temp.priorities('sms'), '5', 'the same priority of another queue is recorded for that queue');

select * from finish();
rollback;
