begin;
select plan(4);

select underway_test.stop_clock('2030-03-01 12:00:00+00');
insert into underway.task_stat (step, at, queue, job)
select step, at, 'email', ''
from unnest('{minute,hour,day}'::underway.stat_step[]) as step
cross join unnest('{2030-01-01, 2030-01-30 11:00:00+00, 2030-01-30 13:00:00+00}'::timestamptz[]) as at;
insert into underway.task_stat (step, at, queue, job) values ('total', '-infinity', 'email', '');
insert into underway.queue_depth (at, queue, ready, scheduled, in_progress, waiting)
values ('2030-01-01', 'email', 1, 1, 1, 1), ('2030-02-01', 'email', 1, 1, 1, 1);

select is(underway._prune_statistics(1), 2, 'a call removes at most so many rows of statistics and of depths');
select is(underway._prune_statistics(), 5, 'the next call removes the rest');
select results_eq(
    'select s.step::text, s.at from underway.task_stat s order by s.step',
    $$ values ('minute', '2030-01-30 13:00:00+00'::timestamptz), ('hour', '2030-01-30 13:00:00+00'),
        ('day', '2030-01-30 13:00:00+00'), ('total', '-infinity') $$,
    'thirty days are kept, and the sums since the installation'
);
select results_eq(
    'select at from underway.queue_depth', $$ values ('2030-02-01'::timestamptz) $$, 'thirty days of depths are kept'
);

select * from finish();
rollback;
