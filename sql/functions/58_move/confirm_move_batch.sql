-- confirm_move_batch: forget a batch that another shard has received, and put back the tasks that it has refused.
--
-- A batch that was confirmed already changes nothing.
--
-- Writes: outgoing_move, unique_reservation.
-- Calls: _insert_moved.
-- Raises: UW003 queue_not_found.

create or replace function underway.confirm_move_batch(shard integer, batch uuid, refused bigint[])
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_tasks   jsonb;
    v_refused jsonb;
begin
    select m.tasks
    into v_tasks
    from underway.outgoing_move m
    where m.shard = confirm_move_batch.shard
      and m.batch = confirm_move_batch.batch
    for update;
    if not found then
        return false;
    end if;

    delete from underway.unique_reservation r
    using jsonb_array_elements(v_tasks) as e (task)
    where r.queue = e.task ->> 'queue'
      and r.unique_key = e.task ->> 'unique_key'
      and r.task = (e.task ->> 'id')::bigint
      and r.expires_at = 'infinity';

    -- The callers of wait_for ask again, and learn where their task is.
    perform pg_notify('underway_finished', e.task ->> 'id')
    from jsonb_array_elements(v_tasks) as e (task)
    where e.task -> 'watched' = 'true';

    if confirm_move_batch.refused <> '{}' then
        select jsonb_agg(e.task)
        into v_refused
        from jsonb_array_elements(v_tasks) as e (task)
        where (e.task ->> 'id')::bigint = any (confirm_move_batch.refused);
        perform underway._insert_moved(v_refused);
    end if;

    update underway.outgoing_move m
    set previous = m.batch, batch = null, begun_at = null, tasks = null
    where m.shard = confirm_move_batch.shard;

    return true;
end;
$$;

comment on function underway.confirm_move_batch(integer, uuid, bigint[]) is
    'Forget a batch of begin_move_batch that a shard has received, and put the tasks back that it has refused. Returns'
    ' whether the batch was on its way.';
