begin;
select plan(2);

select is_empty('select from underway.job_list', 'there are no jobs at first');

select underway.create_queue('email');
select underway.register_job('send_mail', 'email', timeout => '1 minute');
select results_eq(
    'select job collate "default", queue collate "default", timeout, heartbeat from underway.job_list',
    $$ values ('send_mail', 'email', interval '1 minute', null::interval) $$,
    'a job is listed with its settings; null is that of the queue'
);

select * from finish();
rollback;
