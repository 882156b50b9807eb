begin;
select plan(3);

select underway._open_lane('email', 7, underway._clock());

select results_eq(
    'select queue collate "default", priority from underway.lane',
    $$ values ('email', 7) $$,
    'a priority that is new to its queue is noted'
);

select underway._open_lane('email', 7, underway._clock());

select is(
    (select count(*) from underway.lane), 1::bigint,
    'a priority that is in use is not noted again'
);

select underway._open_lane('email', -7, underway._clock());
select underway._open_lane('invoice', 7, underway._clock());

select results_eq(
    'select queue collate "default", priority from underway.lane order by queue, priority',
    $$ values ('email', -7), ('email', 7), ('invoice', 7) $$,
    'each queue has its own priorities'
);

select * from finish();
rollback;
