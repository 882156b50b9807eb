-- pause_key: stop claims of the tasks with a concurrency key. Running tasks continue, and a claim that has begun may still
-- start one.
--
-- Writes: paused_key.
-- Calls: _clock, _raise_queue_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway.pause_key(queue text, concurrency_key text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    if coalesce(pause_key.concurrency_key, '') = '' then
        raise exception using
            errcode = 'UW001',
            message = format('concurrency_key is %L', pause_key.concurrency_key),
            hint = 'Give the concurrency key of the tasks that are to wait.';
    end if;

    if not exists (select from underway.queue q where q.name = pause_key.queue) then
        perform underway._raise_queue_not_found(pause_key.queue);
    end if;

    insert into underway.paused_key (queue, concurrency_key, paused_at)
    values (pause_key.queue, pause_key.concurrency_key, underway._clock())
    on conflict on constraint paused_key_pkey do nothing;

    return found;
end;
$$;

comment on function underway.pause_key(text, text) is
    'Stop claims of the tasks with a concurrency key, for all workers; a claim that has begun may still start one. Returns'
    ' whether it was running.';
