-- _on_tasks_ended: tasks that a batch follows have ended; what waits for that becomes ready.
--
-- Writes: batch_task.

create or replace function underway._record_outcomes(tasks bigint[], state underway.task_state)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = on -- off where tasks are settled
set jit = off
as $$
declare
    v_batches bigint[];
begin
    if _record_outcomes.state = 'succeeded' then
        with gone as (
            delete from underway.batch_task m where m.task = any (_record_outcomes.tasks) returning m.batch
        )
        select array_agg(distinct g.batch order by g.batch) into v_batches from gone g;
    else
        with ended as (
            update underway.batch_task m
            set outcome = _record_outcomes.state
            where m.task = any (_record_outcomes.tasks)
            returning m.batch
        )
        select array_agg(distinct e.batch order by e.batch) into v_batches from ended e;
    end if;

    -- While a task of the batch is live and nobody is settling it, whoever settles that one looks at the batch. It is
    -- mostly the last. (A statement of its own: the one above does not see what it has done.)
    return array(
        select b.id
        from underway.batch b
        where b.id = any (v_batches)
          and (
              (b.failed_at is null and _record_outcomes.state <> 'succeeded')
              or (
                  select true
                  from underway.batch_task m
                  where m.batch = b.id
                    and m.outcome is null
                    and m.xmax = 0
                  order by m.task desc
                  limit 1
              ) is null
          )
        order by b.id
    );
end;
$$;

comment on function underway._record_outcomes(bigint[], underway.task_state) is
    'Note how tasks have ended where batches follow them. Returns the batches that have to be looked at for it.';

create or replace function underway._on_tasks_ended(tasks bigint[], state underway.task_state)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._evaluate_batches(underway._record_outcomes(_on_tasks_ended.tasks, _on_tasks_ended.state));
end;
$$;

comment on function underway._on_tasks_ended(bigint[], underway.task_state) is
    'Tasks that batches follow have ended: what waits for that becomes ready.';
