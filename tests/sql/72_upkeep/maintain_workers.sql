begin;
select plan(9);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');

create temporary table worker on commit drop as
select name, underway.register_worker(name, '{email}') as id
from unnest('{caller, other}'::text[]) as name;

create function pg_temp.last_seen(name text)
returns text
language sql
as $$
    select to_char(w.seen_at at time zone 'UTC', 'HH24:MI:SS') from underway.worker w where w.name = last_seen.name
$$;

-- a worker is seen

select underway_test.advance_clock('10 seconds');
select underway.maintain((select id from worker where name = 'caller'));

select is(pg_temp.last_seen('caller'), '12:00:00', 'a worker that was seen ten seconds ago is not written');

select underway_test.advance_clock('1 second');
select underway.maintain((select id from worker where name = 'caller'));

select is(pg_temp.last_seen('caller'), '12:00:11', 'a worker that was seen more than ten seconds ago is seen');
select is(pg_temp.last_seen('other'), '12:00:00', 'other workers than the caller are not seen');

select underway_test.advance_clock('1 minute');
select underway.maintain();

select is(pg_temp.last_seen('caller'), '12:00:11', 'a call without a worker id marks no worker as seen');

-- a worker is forgotten

select underway_test.stop_clock('2030-01-01 13:00:00+00');

select is(
    underway.maintain() ->> 'forgotten_workers', '0',
    'a worker that was seen an hour ago is kept'
);

select underway_test.advance_clock('1 second');

select is(
    underway.maintain() ->> 'forgotten_workers', '1',
    'a worker that was not seen for more than an hour is removed and counted'
);

select results_eq(
    'select name from underway.worker', $$ values ('caller') $$,
    'workers that were seen within the hour are kept'
);

select underway_test.advance_clock('1 day');

select is(
    underway.maintain((select id from worker where name = 'caller')) ->> 'forgotten_workers', '0',
    'a worker that calls again after a day is not removed by its own call'
);

select is(pg_temp.last_seen('caller'), '13:00:01', 'a worker that calls again after a day is seen');

select * from finish();
rollback;
