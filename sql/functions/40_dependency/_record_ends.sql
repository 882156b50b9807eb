-- _record_ends: release the slots of finished tasks, notify their watchers, and record their outcomes in their batches.
--
-- Writes: batch_task.
-- Calls: _release_slots.

create or replace function underway._record_outcomes(tasks bigint[], state underway.task_state)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
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

    -- While a task of the batch is live and no transaction has written to it, the settlement of that task will evaluate
    -- the batch. The last task is the likeliest. (A statement of its own, so that it sees what the one above has done.)
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
    'Record how tasks have ended in the batches that have them. Returns the batches that have to be evaluated for it.';

create or replace function underway._record_ends(tasks underway.finished_task[], state underway.task_state)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queues  text[];
    v_keys    text[];
    v_watched bigint[];
    v_tasks   bigint[];
begin
    -- The array is read once: it may have a thousand tasks of a queue with limits.
    select
        array_agg(e.queue) filter (where e.frees_slot), array_agg(e.concurrency_key) filter (where e.frees_slot),
        array_agg(e.id) filter (where e.watched), array_agg(e.id) filter (where e.in_batch)
    into v_queues, v_keys, v_watched, v_tasks
    from (
        select t.*, not t.parked and (t.holds_slot or t.concurrency_key is not null) as frees_slot
        from unnest(_record_ends.tasks) t
    ) e;
    if v_queues is not null then
        perform underway._release_slots(v_queues, v_keys);
    end if;
    if v_watched is not null then
        perform pg_notify('underway_finished', w.id::text) from unnest(v_watched) as w (id);
    end if;

    return case when v_tasks is null then '{}' else underway._record_outcomes(v_tasks, _record_ends.state) end;
end;
$$;

comment on function underway._record_ends(underway.finished_task[], underway.task_state) is
    'Release the slots of finished tasks, notify their watchers, and record their outcomes. Returns the batches that have'
    ' to be evaluated for it.';
