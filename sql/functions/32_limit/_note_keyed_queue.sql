-- _note_keyed_queue: note that a queue has tasks with a concurrency key, so that claims look at keys there.
--
-- Writes: keyed_queue.

create or replace function underway._note_keyed_queue(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    -- Two transactions may both add the row; nothing is unique here, so neither waits for the other.
    if not exists (select from underway.keyed_queue k where k.queue = _note_keyed_queue.queue) then
        insert into underway.keyed_queue (queue) values (_note_keyed_queue.queue);
    end if;
end;
$$;

comment on function underway._note_keyed_queue(text) is
    'Note that a queue has tasks with a concurrency key; waits for nobody.';
