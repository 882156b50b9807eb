-- extend_batch: enqueue more tasks of a batch that is not final. So a task of the batch can split its work.
--
--   -> pending
--
-- Writes: nothing.
-- Calls: _add_to_batch, _raise_batch_not_found, enqueue_many.
-- Raises: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW010 unique_conflict,
--   UW011 queue_full, UW012 batch_not_found, UW013 batch_final, UW016 job_not_found.

create or replace function underway._check_cycle(batch bigint, tasks bigint[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_waiting bigint;
begin
    -- From the new tasks to the tasks that they wait for, and on. Only a task that is still waiting waits for its batch.
    with recursive ahead as (
        select d.task, d.batch
        from underway.dependent d
        where d.task = any (_check_cycle.tasks)
          and (select t.state from underway.task t where t.id = d.task) = 'waiting'
        union
        -- The offset and the limit keep these look-ups for each batch and each task under a generic plan.
        select m.task, d.batch
        from ahead
        cross join lateral (
            select live.task
            from underway.batch_task live
            where live.batch = ahead.batch
              and live.outcome is null
            offset 0
        ) m
        cross join lateral (
            select waiting.batch
            from underway.dependent waiting
            where waiting.task = m.task
              and (select t.state from underway.task t where t.id = m.task) = 'waiting'
            limit 1
        ) d
    )
    select ahead.task
    into v_waiting
    from ahead
    where ahead.batch = _check_cycle.batch
    limit 1;

    if found then
        raise exception using
            errcode = 'UW001',
            message = format(
                'task %s waits for batch %s, and a new task of the batch would wait for task %s',
                v_waiting, _check_cycle.batch, v_waiting
            ),
            hint = 'Enqueue the new task outside the batch: inside it, the two would wait for each other forever.';
    end if;
end;
$$;

comment on function underway._check_cycle(bigint, bigint[]) is
    'Refuse new tasks of a batch that wait, directly or not, for a task that waits for the batch.';

create or replace function underway.extend_batch(batch bigint, tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_final_at timestamptz;
    v_ids      bigint[];
begin
    -- A settlement that finds the batch locked leaves its evaluation to maintain().
    select b.final_at
    into v_final_at
    from underway.batch b
    where b.id = extend_batch.batch
      and not b.implicit
    for no key update;

    if not found then
        perform underway._raise_batch_not_found(extend_batch.batch);
    end if;
    if v_final_at is not null then
        raise exception using
            errcode = 'UW013',
            message = format('all tasks of batch %s are final since %s', extend_batch.batch, v_final_at),
            hint = 'Extend a batch before its last task ends, for example in that task; or enqueue another batch.';
    end if;

    v_ids := underway.enqueue_many(extend_batch.tasks);
    perform underway._add_to_batch(extend_batch.batch, array(
        select given.id
        from unnest(v_ids) as given (id)
        -- The limit keeps this a look-up for each task under a generic plan.
        where (
            select true
            from underway.batch_task m
            where m.task = given.id
              and m.batch = extend_batch.batch
            limit 1
        ) is null
        group by given.id
    ));

    perform underway._check_cycle(extend_batch.batch, v_ids);

    return v_ids;
end;
$$;

comment on function underway.extend_batch(bigint, jsonb) is
    'Enqueue more tasks of a batch, as enqueue_many does. Refused when all its tasks are final. Returns their ids in order.';
