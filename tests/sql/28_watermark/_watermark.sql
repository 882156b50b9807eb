begin;
select plan(5);

select underway_test.stop_clock('2030-01-01 12:00:00+00');

select is_empty($$ select * from underway._watermark('email', 0) $$, 'a queue of which nothing is recorded has no watermark');

insert into underway.watermark (queue, priority, ready_at, observed_at, observed_locks)
values
    ('email', 0, '2030-01-01 11:00:00+00', '2030-01-01 11:30:00+00', '{}'),
    ('email', 0, '2030-01-01 11:10:00+00', '2030-01-01 11:40:00+00', '{2/9}'),
    ('email', 5, '2030-01-01 11:20:00+00', '2030-01-01 11:50:00+00', '{}');

select results_eq(
    $$ select w.ready_at, w.observed_at, w.observed_locks from underway._watermark('email', 0) w $$,
    $$ values ('2030-01-01 11:10:00+00'::timestamptz, '2030-01-01 11:40:00+00'::timestamptz, '{2/9}'::text[]) $$,
    'of several rows the one that was written last is the watermark'
);
select results_eq(
    $$ select w.ready_at from underway._watermark('email', 5) w $$, $$ values ('2030-01-01 11:20:00+00'::timestamptz) $$,
    'each priority has its own watermark'
);
select is_empty($$ select * from underway._watermark('email', 1) $$, 'a priority of which nothing is recorded has no watermark');
select is_empty($$ select * from underway._watermark('sms', 0) $$, 'the watermark of another queue does not count');

select * from finish();
rollback;
