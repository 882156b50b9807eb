begin;
select plan(9);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');
create function pg_temp.idle_workers(workers integer, queues text[])
returns void
language sql
as $$
    select underway.set_idle(underway.register_worker('w' || number, idle_workers.queues), true)
    from generate_series(1, idle_workers.workers) number;
$$;

select pg_temp.idle_workers(9, '{email}');
select is(underway._notify_idle_workers(), null, 'nine idle workers look by themselves');

select pg_temp.idle_workers(1, '{email}');
select is(underway._notify_idle_workers(), 'none', 'ten idle workers learn that they need not look');

select underway.enqueue('sms');
select underway.enqueue('email', delay => '2 seconds');
select is(underway._notify_idle_workers(), 'none', 'a task of a queue that no idle worker serves, or that is due later, does not count');

select underway_test.advance_clock('1 millisecond');
select is(underway._notify_idle_workers(), 'due', 'a task that is due within two seconds is to be looked for');

select underway.pause_queue('email');
select is(underway._notify_idle_workers(), 'none', 'no task of a paused queue is to be looked for');

select underway.set_idle(max(id), false) from underway.worker;
select is(underway._notify_idle_workers(), null, 'a busy worker does not count');
select underway.set_idle(max(id), true) from underway.worker;

update underway.worker set queues = array(select md5(number::text) from generate_series(1, 10000) number)
where id = (select max(id) from underway.worker);
select is(underway._notify_idle_workers(), null, 'workers of very many queues look by themselves');
update underway.worker set queues = '{email}' where id = (select max(id) from underway.worker);

select underway.schedule('each second', 'email', '* * * * * *', 'UTC');
select is(underway._notify_idle_workers(), 'due', 'a schedule that is due soon is to be looked for');

select underway_test.advance_clock('31 seconds');
select is(underway._notify_idle_workers(), null, 'workers that were not seen for half a minute do not count');

select * from finish();
rollback;
