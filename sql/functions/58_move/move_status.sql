-- move_status: how many live tasks a queue, or one of its concurrency keys, has that can be moved to another shard.
--
-- A running task cannot be moved, nor one that waits for others, nor one of a batch or one that another task waits for:
-- batches stay whole.
--
-- Writes: nothing.
-- Calls: _raise_queue_not_found.
-- Raises: UW003 queue_not_found.

create or replace function underway.move_status(queue text, key text, shard integer)
returns underway.move_status
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_status underway.move_status;
begin
    if not exists (select from underway.queue q where q.name = move_status.queue) then
        perform underway._raise_queue_not_found(move_status.queue);
    end if;

    select
        count(*) filter (where seen.state = 'pending' and not seen.dependent),
        count(*) filter (where seen.state = 'in_progress'),
        count(*) filter (where seen.dependent),
        (array_agg(seen.id order by seen.id) filter (where seen.state = 'in_progress'))[1:20],
        (array_agg(seen.id order by seen.id) filter (where seen.dependent))[1:20],
        max(seen.id)
    into
        v_status.movable, v_status.running, v_status.dependent, v_status.running_tasks, v_status.dependent_tasks,
        v_status.last_task
    from (
        select
            t.id, t.state,
            t.state = 'waiting' or t.state = 'pending' and t.in_batch
                and (select true from underway.batch_task m where m.task = t.id limit 1) is true as dependent
        from underway.task t
        where t.queue = move_status.queue
          and (move_status.key is null or t.concurrency_key = move_status.key)
    ) seen;

    v_status.on_the_way := coalesce((
        select jsonb_array_length(m.tasks) from underway.outgoing_move m where m.shard = move_status.shard
    ), 0);

    return v_status;
end;
$$;

comment on function underway.move_status(text, text, integer) is
    'The live tasks of a queue, or of one of its concurrency keys: how many can be moved, run, or belong to batches and'
    ' dependencies, with the first ids of the latter two; and how many tasks an interrupted move to a shard has left on the'
    ' way.';
