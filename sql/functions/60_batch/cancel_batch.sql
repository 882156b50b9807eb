-- cancel_batch: cancel the live tasks of a batch.
--
--   pending | waiting | in_progress -> cancelled
--
-- Writes: nothing.
-- Calls: _raise_batch_not_found, cancel.
-- Raises: UW012 batch_not_found.

create or replace function underway.cancel_batch(batch bigint)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_cancelled integer;
begin
    perform from underway.batch b where b.id = cancel_batch.batch and not b.implicit;
    if not found then
        perform underway._raise_batch_not_found(cancel_batch.batch);
    end if;

    select count(*) filter (where underway.cancel(live.task))
    into v_cancelled
    from (
        select m.task
        from underway.batch_task m
        where m.batch = cancel_batch.batch
          and m.outcome is null
        order by m.task
    ) live;

    return v_cancelled;
end;
$$;

comment on function underway.cancel_batch(bigint) is
    'Cancel the live tasks of a batch. Returns how many there were. Its callbacks on_final and on_failure run then.';
