begin;
select plan(9);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email');
select underway.create_queue('short', max_length => 10);
select underway.register_job('plain', 'email');

create function pg_temp.is_plain(queue text, job text default null, priority integer default null)
returns boolean
language sql
as $$ select exists (select from underway._plain_queue(queue, job, priority)) $$;

select ok(pg_temp.is_plain('email'), 'a queue without settings');
select ok(not pg_temp.is_plain('nowhere'), 'no queue');
select ok(not pg_temp.is_plain('short'), 'a queue with a max_length');
select ok(not pg_temp.is_plain('email', priority => 5), 'a priority that nobody has used');

select underway.register_job('urgent', 'email', priority => 5);
select underway._run_chores();

select ok(not pg_temp.is_plain('email', 'urgent'), 'a job with a priority of its own');
select ok(pg_temp.is_plain('email', 'urgent', 0), 'a job with a priority, and a task with another');
select ok(pg_temp.is_plain('email', 'plain'), 'another job of the same queue');

select underway._advance_watermark('email', 0);
select ok(pg_temp.is_plain('email'), 'a queue with a watermark');

select underway_test.stop_clock('2030-01-01 11:00:00+00');
select ok(not pg_temp.is_plain('email'), 'a watermark of a clock that was an hour ahead');

select * from finish();
rollback;
