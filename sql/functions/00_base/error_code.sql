-- error_code: every error that Underway raises by itself; the Python exceptions and the documentation follow it.
--
-- Writes: nothing.

create or replace view underway.error_code (sqlstate, name, meaning) as
values
    ('UW001', 'invalid_argument', 'An argument is outside what it may be; nothing was done.'),
    ('UW002', 'lease_lost', 'The caller does not hold the task any more; drop the result.'),
    ('UW003', 'queue_not_found', 'There is no queue of this name; create it first.'),
    ('UW004', 'task_not_found', 'No live task and no task in the history has this id.'),
    ('UW005', 'wrong_state', 'The task exists, but in its state this can not be done.'),
    ('UW006', 'queue_in_use', 'The queue still has live tasks; drop it by force, or empty it first.'),
    ('UW007', 'input_too_large', 'The input is larger than the setting max_input_size allows.'),
    ('UW008', 'invalid_cron', 'The cron expression or its time zone can not be read, or names no time to come.'),
    ('UW009', 'schedule_not_found', 'There is no schedule of this name; create it first.'),
    ('UW010', 'unique_conflict', 'The unique key is taken by another task of the queue.'),
    ('UW011', 'queue_full', 'The queue has as many tasks that wait as its max_length allows.'),
    ('UW012', 'batch_not_found', 'There is no batch of this id.'),
    ('UW013', 'batch_final', 'All tasks of the batch are final; it takes no more.'),
    ('UW014', 'output_too_large', 'The output is larger than the setting max_output_size allows.');

comment on view underway.error_code is 'The errors that Underway raises: SQLSTATE, name, and what it means.';
