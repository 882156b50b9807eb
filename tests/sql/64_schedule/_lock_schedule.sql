-- The effect on other sessions is tested in tests/py/test_schedule_races.py.

begin;
select plan(3);

select underway.create_queue('reports');
select underway.schedule('daily', 'reports', '@daily');

select is((underway._lock_schedule('daily')).cron, '@daily', 'the row of the schedule is returned');

select is((underway._lock_schedule('weekly')).name, null, 'a schedule that does not exist returns nulls');

select lives_ok($$ select underway._lock_schedule('daily') $$, 'the same transaction may lock the schedule again');

select * from finish();
rollback;
