begin;
select plan(3);

select underway._ensure_priority('email', 7, underway._clock());

select results_eq(
    'select queue collate "default", priority from underway.queue_priority',
    $$ values ('email', 7) $$,
    'a priority that is new to its queue is noted'
);

select underway._ensure_priority('email', 7, underway._clock());

select is(
    (select count(*) from underway.queue_priority), 1::bigint,
    'a priority that is in use is not noted again'
);

select underway._ensure_priority('email', -7, underway._clock());
select underway._ensure_priority('invoice', 7, underway._clock());

select results_eq(
    'select queue collate "default", priority from underway.queue_priority order by queue, priority',
    $$ values ('email', -7), ('email', 7), ('invoice', 7) $$,
    'each queue has its own priorities'
);

select * from finish();
rollback;
