-- complete_and_dequeue: settle a batch and claim the next in one call and one commit.
--
--   in_progress -> succeeded
--   pending -> in_progress
--
-- Writes: nothing.
-- Calls: _check_leases, _conclude, dequeue.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.complete_and_dequeue(
    tasks bigint[],
    leases uuid[],
    outputs jsonb[],
    queues text[],
    max_tasks integer,
    worker bigint default null
)
returns setof underway.claimed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_checked constant boolean := underway._check_leases(complete_and_dequeue.tasks, complete_and_dequeue.leases);
    v_settled bigint[];
    v_lost    underway.claimed_task; -- only its id is set
begin
    v_settled := underway._conclude(
        complete_and_dequeue.tasks, complete_and_dequeue.leases, 'succeeded', complete_and_dequeue.outputs
    );

    if cardinality(v_settled) < cardinality(complete_and_dequeue.tasks) then
        for v_lost.id in
            select unnest(complete_and_dequeue.tasks)
            except
            select unnest(v_settled)
        loop
            return next v_lost;
        end loop;
    end if;

    return query
    select *
    from underway.dequeue(
        complete_and_dequeue.queues, complete_and_dequeue.max_tasks, complete_and_dequeue.worker
    );
end;
$$;

comment on function underway.complete_and_dequeue(bigint[], uuid[], jsonb[], text[], integer, bigint) is
    'Settle a batch as complete_many does and claim the next as dequeue does. A row without a lease is no claim: it'
    ' names a task of the batch whose lease was lost.';
