-- pause_to_move: pause a queue, or one concurrency key of it, before its tasks are moved to another shard.
--
-- Once this has committed, no claim starts a task of the queue or key, not even one that had begun before: so the tasks of a
-- key do not run at both shards. Running tasks continue.
--
-- Writes: nothing.
-- Calls: _lock_claims, pause_key, pause_queue.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.pause_to_move(queue text, key text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if pause_to_move.key is null then
        return underway.pause_queue(pause_to_move.queue);
    end if;

    perform underway._lock_claims(pause_to_move.queue);
    return underway.pause_key(pause_to_move.queue, pause_to_move.key);
end;
$$;

comment on function underway.pause_to_move(text, text) is
    'Pause a queue, or one concurrency key of it. Waits for transactions that have claimed from the queue. Returns whether it'
    ' was running.';
