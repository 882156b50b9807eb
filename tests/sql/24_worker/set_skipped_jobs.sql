begin;
select plan(5);

select underway.create_queue('email');

create temporary table worker on commit drop as
select name, underway.register_worker(name, '{email}') as id
from unnest('{caller, other}'::text[]) as name;

select is(
    (select skipped_jobs from underway.worker where name = 'caller'), '{}'::text[], 'a new worker skips no jobs'
);

select underway.set_skipped_jobs((select id from worker where name = 'caller'), '{export,report}');

select results_eq(
    'select name, skipped_jobs from underway.worker order by name',
    $$ values ('caller', '{export,report}'::text[]), ('other', '{}'::text[]) $$,
    'set_skipped_jobs changes only the given worker'
);

create temporary table before on commit drop as select ctid as place from underway.worker where name = 'caller';

select underway.set_skipped_jobs((select id from worker where name = 'caller'), '{export,report}');

select results_eq(
    $$ select ctid from underway.worker where name = 'caller' $$, 'select place from before',
    'a call that changes nothing writes no row version'
);

select underway.set_skipped_jobs((select id from worker where name = 'caller'), null);

select is(
    (select skipped_jobs from underway.worker where name = 'caller'), '{}'::text[], 'null means none'
);

select lives_ok($$ select underway.set_skipped_jobs(-1, '{export}') $$, 'a worker id that does not exist is ignored');

select * from finish();
rollback;
