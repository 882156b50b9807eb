begin;
select plan(3);

select throws_ok(
    $$ select underway._raise_job_not_found('send_mail') $$,
    'UW016', 'job ''send_mail'' is not registered, so its queue is not known',
    'the message names the job'
);

select is(
    underway_test.hint_of($$ select underway._raise_job_not_found('it''s') $$),
    'Register it: select underway.register_job(''it''''s'', queue => ...); or give the queue.',
    'the hint is the call that registers the job, with its name quoted'
);

select throws_ok(
    $$ select underway._raise_job_not_found(null) $$,
    'UW001', 'neither a queue nor a job is given',
    'without a job the argument is wrong'
);

select * from finish();
rollback;
