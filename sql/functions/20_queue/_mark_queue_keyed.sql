-- _mark_queue_keyed: from now on claims from the queue look at concurrency keys.
--
-- A hint that may be missing: a claim that meets a task with a key leaves it alone and calls this.
--
-- Writes: queue.
-- Calls: nothing.

create or replace function underway._mark_queue_keyed(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Waits for nobody: where the row is locked, a later claim does it. A repeatable-read snapshot may be too old to lock it.
    if current_setting('transaction_isolation') = 'read committed' then
        update underway.queue q
        set has_keys = true
        where q.ctid = any (array(
            select plain.ctid
            from underway.queue plain
            where plain.name = _mark_queue_keyed.queue
              and not plain.has_keys
            for no key update skip locked
        ));
    end if;
end;
$$;

comment on function underway._mark_queue_keyed(text) is
    'Record that a queue has tasks with concurrency keys. Waits for nobody.';
