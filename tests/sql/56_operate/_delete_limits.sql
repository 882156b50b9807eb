begin;
select plan(2);

create function pg_temp.rows_of(queue text)
returns bigint[]
language sql
as $$
    select array[
        (select count(*) from underway.unique_reservation r where r.queue = rows_of.queue),
        (select count(*) from underway.ready_key k where k.queue = rows_of.queue),
        (select count(*) from underway.paused_key k where k.queue = rows_of.queue),
        (select count(*) from underway.token_bucket b where b.queue = rows_of.queue)
    ]
$$;

insert into underway.unique_reservation (queue, unique_key, task, expires_at)
select queue, 'u', 1, 'infinity' from unnest('{email,sms}'::text[]) as queue;
insert into underway.ready_key (queue, concurrency_key) select queue, 'k' from unnest('{email,sms}'::text[]) as queue;
insert into underway.paused_key (queue, concurrency_key, paused_at)
select queue, 'k', now() from unnest('{email,sms}'::text[]) as queue;
insert into underway.token_bucket (queue, concurrency_key, tokens, refilled_at)
select queue, 'k', 1, now() from unnest('{email,sms}'::text[]) as queue;

select underway._delete_limits('email');

select is(pg_temp.rows_of('email'), '{0,0,0,0}', 'the rows of the queue are deleted');
select is(pg_temp.rows_of('sms'), '{1,1,1,1}', 'the rows of other queues stay');

select * from finish();
rollback;
