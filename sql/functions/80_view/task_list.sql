-- task_list: all tasks, live and finished, without their inputs and outputs.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace view underway.task_list as
select
    t.id, t.queue::text as queue, t.job, t.state, t.priority, t.attempt, t.enqueued_at, t.ready_at, t.started_at,
    null::timestamptz as finished_at, t.worker,
    (t.dead_letter ->> 'task')::bigint as dead_letter_of,
    t.unique_key::text as unique_key, t.concurrency_key::text as concurrency_key,
    t.expires_at, null::text as reason,
    nullif(left(concat_ws(': ', t.errors -> -1 ->> 'type', t.errors -> -1 ->> 'message'), 200), '') as error
from underway.task t
union all
select
    h.id, h.queue::text, h.job, h.state, h.priority, h.attempt, h.enqueued_at, null, h.started_at,
    h.finished_at, h.worker,
    (h.dead_letter ->> 'task')::bigint,
    h.unique_key::text, h.concurrency_key::text, h.expires_at, h.reason,
    nullif(left(concat_ws(': ', h.errors -> -1 ->> 'type', h.errors -> -1 ->> 'message'), 200), '')
from underway.task_history h;

comment on view underway.task_list is
    'All tasks, live and finished, without inputs and outputs. Use a condition: the history may be long.';
