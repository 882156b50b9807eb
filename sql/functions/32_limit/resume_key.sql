-- resume_key: claims of a paused key go on.
--
-- Writes: paused_key.
-- Calls: _raise_queue_not_found, _release_slots.
-- Raises: UW003 queue_not_found.

create or replace function underway.resume_key(queue text, concurrency_key text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    if not exists (select from underway.queue q where q.name = resume_key.queue) then
        perform underway._raise_queue_not_found(resume_key.queue);
    end if;

    delete from underway.paused_key p
    where p.queue = resume_key.queue
      and p.concurrency_key = resume_key.concurrency_key;

    if found then
        perform underway._release_slots(
            array[resume_key.queue], array[resume_key.concurrency_key],
            (select q.max_running_per_key from underway.queue q where q.name = resume_key.queue)
        );
        return true;
    end if;

    return false;
end;
$$;

comment on function underway.resume_key(text, text) is
    'Let claims of a paused concurrency key go on. Returns whether it was paused.';
