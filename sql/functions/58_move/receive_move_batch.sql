-- receive_move_batch: insert a batch of tasks that another shard has taken out of its database (begin_move_batch).
--
-- A batch that was received already is not inserted again, and gives the same answer. A batch that does not follow the
-- last one is refused: it is late, or one of the two databases has lost batches, and its tasks may have run.
--
-- Writes: incoming_move.
-- Calls: _insert_moved, _require_read_committed.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.receive_move_batch(shard integer, previous uuid, batch uuid, tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    v_last    underway.incoming_move;
    v_refused bigint[];
begin
    perform underway._require_read_committed('receive_move_batch');

    insert into underway.incoming_move (shard) values (receive_move_batch.shard) on conflict do nothing;
    select m.* into v_last from underway.incoming_move m where m.shard = receive_move_batch.shard for update;
    if v_last.batch = receive_move_batch.batch then
        return v_last.refused;
    end if;
    if v_last.batch is distinct from receive_move_batch.previous then
        raise exception using
            errcode = 'UW001',
            message = format(
                'batch %s from shard %s follows batch %s, and the last one received is %s', receive_move_batch.batch,
                receive_move_batch.shard, coalesce(receive_move_batch.previous::text, 'none'),
                coalesce(v_last.batch::text, 'none')
            ),
            hint = 'If another move between these shards is running, run this one again after it. Otherwise one of the'
                ' databases was restored from a backup: see the guide about moving tasks.';
    end if;

    v_refused := underway._insert_moved(receive_move_batch.tasks);
    update underway.incoming_move m
    set batch = receive_move_batch.batch, refused = v_refused
    where m.shard = receive_move_batch.shard;

    return v_refused;
end;
$$;

comment on function underway.receive_move_batch(integer, uuid, uuid, jsonb) is
    'Insert a batch of begin_move_batch of the given shard, once. Returns the ids of tasks that were not accepted, because'
    ' another live task of the queue has their unique key: confirm_move_batch puts them back.';
