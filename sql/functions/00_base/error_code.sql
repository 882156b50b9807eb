-- error_code: the list of errors that Underway raises. The Python exceptions and the documentation follow it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.error_code (sqlstate, name, meaning) as
values
    ('UW001', 'invalid_argument', 'An argument is invalid; nothing was changed.'),
    ('UW002', 'lease_lost', 'The caller no longer holds the task; discard the result.'),
    ('UW003', 'queue_not_found', 'No queue has this name; create it first.'),
    ('UW004', 'task_not_found', 'No task has this id, neither live nor in the history.'),
    ('UW005', 'wrong_state', 'The state of the task does not allow the call.'),
    ('UW006', 'queue_in_use', 'The queue still has live tasks; wait until they have finished, or drop it with force.'),
    ('UW007', 'input_too_large', 'The input is larger than the setting max_input_size allows.'),
    ('UW008', 'invalid_cron', 'The cron expression or its time zone is invalid, or has no time in the future.'),
    ('UW009', 'schedule_not_found', 'No schedule has this name; create it first.'),
    ('UW010', 'unique_conflict', 'Another task of the queue has the unique key.'),
    ('UW011', 'queue_full', 'The tasks would exceed the max_length of the queue.'),
    ('UW012', 'batch_not_found', 'No batch has this id.'),
    ('UW013', 'batch_final', 'All tasks of the batch are final; it cannot be extended.'),
    ('UW014', 'output_too_large', 'The output is larger than the setting max_output_size allows.'),
    ('UW015', 'task_locked', 'Another transaction has locked a task for too long; nothing was changed.'),
    ('UW016', 'job_not_found', 'No queue was given and no job of this name is registered; register it, or give the queue.'),
    ('UW017', 'shard_in_use', 'Ids were given out under the shard number of this database; it cannot change any more.');

comment on view underway.error_code is 'The errors that Underway raises: SQLSTATE, name and meaning.';
