-- batch_stats: each batch with its name, its progress, and its callbacks.
--
-- Writes: nothing.

create or replace view underway.batch_stats as
select
    b.id as batch,
    b.name,
    case
        when b.succeeded_at is not null then 'succeeded'
        when b.final_at is null then 'live'
        else 'failed'
    end as state,
    b.tasks,
    m.live,
    b.tasks - m.live - m.failed - m.cancelled as succeeded,
    m.failed,
    m.cancelled,
    case when b.tasks = 0 then 1.0 else 1.0 - m.live::double precision / b.tasks end as progress,
    (select f.task from underway.dependent f where f.batch = b.id and f.event = 'success') as on_success,
    (select f.task from underway.dependent f where f.batch = b.id and f.event = 'final') as on_final,
    (select f.task from underway.dependent f where f.batch = b.id and f.event = 'failure') as on_failure,
    b.created_at,
    b.failed_at,
    b.final_at,
    b.succeeded_at,
    b.expires_at
from underway.batch b
cross join lateral (
    select
        count(*) filter (where member.outcome is null) as live,
        count(*) filter (where member.outcome = 'failed') as failed,
        count(*) filter (where member.outcome = 'cancelled') as cancelled
    from underway.batch_task member
    where member.batch = b.id
) m
where not b.implicit;

comment on view underway.batch_stats is
    'Each batch with its progress: the part of its tasks that are final, from 0 to 1; live, succeeded, failed and'
    ' cancelled count them as they are now. It is failed when all are final and not all have succeeded; a retry may change'
    ' that. The view reads the tasks that have not succeeded, not the history.';
