-- begin_move_batch: take pending tasks of a queue out of this database, to move them to another shard.
--
-- Problem: no transaction spans two databases. A command that copies tasks and then deletes them may be killed in between;
-- then both databases would run them, and a command that deletes first would lose them.
-- Idea: a task is run only where it has a row in `task`, and three transactions carry that row over. This function deletes
-- rows and stores them as a batch in outgoing_move. receive_move_batch inserts them at the target, and records the batch in
-- incoming_move. confirm_move_batch drops the stored batch. Each may be repeated: while a batch is stored, this function
-- returns it again instead of the next one, and the target accepts a batch only if it follows the last one that it has
-- recorded.
-- Invariant: each task is in `task` of one database at most. While it is in neither, outgoing_move of the source has it.
--
-- A unique key stays reserved here while its task is on the way, so that the task can come back if the target refuses it.
--
-- Writes: task, moved_task, outgoing_move, unique_reservation.
-- Calls: _clock, _release_slots, _require_read_committed.
-- Raises: UW001 invalid_argument.

create or replace function underway.begin_move_batch(
    shard integer,
    queue text,
    key text,
    after bigint, -- ids up to here were tried
    up_to bigint,
    max_tasks integer default 1000
)
returns underway.move_batch
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set intervalstyle = 'iso_8601' -- which the session at the target reads, whatever its own style is
set extra_float_digits = 1
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz;
    v_move   underway.outgoing_move;
    v_batch  underway.move_batch;
    v_seen   record;
    v_bytes  bigint := 0;
    v_locked bigint[] := '{}';
    v_queues text[];
    v_keys   text[];
begin
    perform underway._require_read_committed('begin_move_batch');

    insert into underway.outgoing_move (shard) values (begin_move_batch.shard) on conflict do nothing;
    select m.* into v_move from underway.outgoing_move m where m.shard = begin_move_batch.shard for update;
    if v_move.batch is not null then
        return row(v_move.batch, v_move.previous, v_move.tasks, begin_move_batch.after);
    end if;

    for v_seen in
        select t.id, octet_length(t.input::text) as bytes
        from underway.task t
        where t.id > begin_move_batch.after
          and t.id <= begin_move_batch.up_to
          and t.queue = begin_move_batch.queue
          and t.state = 'pending'
          and (begin_move_batch.key is null or t.concurrency_key = begin_move_batch.key)
        order by t.id
        limit begin_move_batch.max_tasks
        for update skip locked
    loop
        v_locked := v_locked || v_seen.id;
        v_bytes := v_bytes + v_seen.bytes;
        exit when v_bytes > 8388608;
    end loop;
    if v_locked = '{}' then
        return null;
    end if;
    v_now := underway._clock();
    v_batch.last_task := v_seen.id;

    -- A statement after the locks: it sees the batches that the tasks were added to before.
    with gone as (
        delete from underway.task t
        where t.id = any (v_locked)
          and (select true from underway.batch_task m where m.task = t.id limit 1) is null
        returning t.*
    ),
    held as (
        insert into underway.unique_reservation (queue, unique_key, task, expires_at)
        select g.queue, g.unique_key, g.id, 'infinity' from gone g where g.unique_key is not null order by 1, 2
        on conflict on constraint unique_reservation_pkey do update
        set task = excluded.task, expires_at = excluded.expires_at
    ),
    recorded as (
        insert into underway.moved_task as m (id, shard, moved_at, enqueued_at, queue, job)
        select g.id, begin_move_batch.shard, v_now, g.enqueued_at, g.queue, g.job from gone g
        on conflict on constraint moved_task_pkey do update set shard = excluded.shard, moved_at = excluded.moved_at
    )
    select
        jsonb_agg(to_jsonb(g) || jsonb_build_object('reserved_until', (
            select r.expires_at
            from underway.unique_reservation r
            where r.queue = g.queue
              and r.unique_key = g.unique_key
              and r.task = g.id
              and r.expires_at > v_now
        )) order by g.id),
        array_agg(distinct g.concurrency_key) filter (where not g.parked and g.concurrency_key is not null)
    into v_batch.tasks, v_keys
    from gone g;

    if v_batch.tasks is not null then
        v_batch.id := gen_random_uuid();
        v_batch.previous := v_move.previous;
        update underway.outgoing_move m
        set batch = v_batch.id, begun_at = v_now, tasks = v_batch.tasks
        where m.shard = begin_move_batch.shard;
    end if;

    -- Tasks of these keys may be left: others were locked, or the next batch takes them.
    if v_keys is not null then
        v_queues := array_fill(begin_move_batch.queue, array[cardinality(v_keys)]);
        perform underway._release_slots(v_queues, v_keys);
    end if;

    return v_batch;
end;
$$;

comment on function underway.begin_move_batch(integer, text, text, bigint, bigint, integer) is
    'Take at most max_tasks pending tasks of a queue, or of one of its concurrency keys, with ids above `after`, out of this'
    ' database, as a batch for receive_move_batch of another shard. Returns the batch that is on its way already, if there is'
    ' one. The batch stays stored here until confirm_move_batch.';
