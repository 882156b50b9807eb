-- resume_queue: allow claims from a paused queue again.
--
-- Writes: queue.
-- Calls: _raise_queue_not_found, _wake.
-- Raises: UW003 queue_not_found.

create or replace function underway.resume_queue(name text)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.queue q
    set paused_at = null
    where q.name = resume_queue.name
      and q.paused_at is not null;

    if found then
        perform underway._wake(resume_queue.name);
        return true;
    end if;

    if not exists (select from underway.queue q where q.name = resume_queue.name) then
        perform underway._raise_queue_not_found(resume_queue.name);
    end if;

    return false;
end;
$$;

comment on function underway.resume_queue(text) is
    'Allow claims from a paused queue again. Returns whether the queue was paused.';
