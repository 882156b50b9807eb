-- _finish_drops: remove the rows that drop_queue had to leave behind; maintain() calls this.
--
-- Problem: an enqueue that has read the queue before drop_queue committed may add its task afterwards. It relies on the
-- priorities and watermarks of the queue, so drop_queue must keep them, and it cannot see the task.
-- Idea: every enqueue reads the table queue, and PostgreSQL holds that lock until its transaction ends. The first call
-- after the drop records the transactions that hold the lock; once all of them have ended, no enqueue that has seen the
-- queue is under way. A prepared transaction changes its virtual id, so any that holds the lock counts.
--
-- Writes: dropped_queue, queue_priority, watermark.
-- Calls: _delete_limits, _finish.

create or replace function underway._queue_readers()
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select l.virtualtransaction
        from pg_locks l
        where l.locktype = 'relation'
          and l.relation = 'underway.queue'::regclass
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.granted
          and l.pid is distinct from pg_backend_pid()
    );
end;
$$;

comment on function underway._queue_readers() is
    'The virtual ids of the other transactions that have read the table queue; those of prepared ones begin with -1/.';

create or replace function underway._finish_drops()
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_readers  text[];
    v_dropped  underway.dropped_queue;
    v_tasks    bigint[];
    v_finished integer := 0;
begin
    for v_dropped in select d.* from underway.dropped_queue d order by d.name for update skip locked loop
        v_readers := coalesce(v_readers, underway._queue_readers());

        if v_dropped.open_transactions is null then
            update underway.dropped_queue d set open_transactions = v_readers where d.name = v_dropped.name;
            continue;
        end if;

        continue when v_dropped.open_transactions && v_readers
            or exists (select from unnest(v_readers) as reader (id) where reader.id like '-1/%')
            or not pg_try_advisory_xact_lock(hashtext('underway.claim'), hashtext(v_dropped.name));

        -- If the queue was created again, the tasks and the priorities are those of the new queue.
        if not exists (select from underway.queue q where q.name = v_dropped.name) then
            v_tasks := array(
                select t.id
                from underway.task t
                where t.queue = v_dropped.name
                order by t.id
                for update skip locked
            );
            perform underway._finish(v_tasks, null, 'cancelled');
            continue when exists (select from underway.task t where t.queue = v_dropped.name);

            perform underway._delete_limits(v_dropped.name);
            delete from underway.watermark w where w.queue = v_dropped.name;
            delete from underway.queue_priority p where p.queue = v_dropped.name;
        end if;

        delete from underway.dropped_queue d where d.name = v_dropped.name;
        v_finished := v_finished + 1;
    end loop;

    return v_finished;
end;
$$;

comment on function underway._finish_drops() is
    'Remove what dropped queues had to leave behind, once no enqueue that has seen them is under way. Returns how many'
    ' queues are finished.';
