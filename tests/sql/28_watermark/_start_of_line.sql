begin;
select plan(5);

select underway_test.stop_clock();
select underway.create_queue('email');

create function pg_temp.start(priority integer default 0) returns timestamptz language sql as $$
    select s.at from underway._start_of_line('email', start.priority, underway._clock()) s (at)
$$;

select is(pg_temp.start(), '-infinity', 'a claim looks at all ready tasks while no watermark is recorded');

insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock() - interval '1 minute', underway._clock() + interval '1 second', '{}');
select is(pg_temp.start(), underway._clock() - interval '1 minute', 'a claim begins at the watermark');
select is(pg_temp.start(1), '-infinity', 'each priority has its own watermark');

insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock() - interval '1 second', underway._clock(), '{}');
select is(pg_temp.start(), underway._clock() - interval '1 second', 'the watermark with the highest version counts');

insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values ('email', 0, underway._clock(), underway._clock() + interval '1.000001 seconds', '{}');
select is(pg_temp.start(), '-infinity', 'a watermark that was observed more than a second ahead is ignored');

select * from finish();
rollback;
