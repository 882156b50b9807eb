begin;
select plan(4);

select results_eq(
    'select sqlstate::text, name::text from underway.error_code',
    $$ values
        ('UW001', 'invalid_argument'),
        ('UW002', 'lease_lost'),
        ('UW003', 'queue_not_found'),
        ('UW004', 'task_not_found'),
        ('UW005', 'wrong_state'),
        ('UW006', 'queue_in_use'),
        ('UW007', 'input_too_large'),
        ('UW008', 'invalid_cron'),
        ('UW009', 'schedule_not_found'),
        ('UW010', 'unique_conflict'),
        ('UW011', 'queue_full'),
        ('UW012', 'batch_not_found'),
        ('UW013', 'batch_final'),
        ('UW014', 'output_too_large'),
        ('UW015', 'task_locked'),
        ('UW016', 'job_not_found'),
        ('UW017', 'shard_in_use')
    $$,
    'the errors are listed in the order of their codes'
);

select is_empty(
    $$ select sqlstate, name from underway.error_code group by grouping sets (sqlstate, name) having count(*) > 1 $$,
    'no code and no name is listed twice'
);

select is_empty(
    $$ select name from underway.error_code where name !~ '^[a-z]+(_[a-z]+)*$' $$,
    'the names are in snake case'
);

select is_empty(
    $$ select name from underway.error_code where meaning !~ '^[A-Z].*\.$' or meaning is null $$,
    'each meaning is a sentence'
);

select * from finish();
rollback;
