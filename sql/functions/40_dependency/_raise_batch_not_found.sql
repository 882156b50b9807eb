-- _raise_batch_not_found: refuse a batch that does not exist.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW012 batch_not_found.

create or replace function underway._raise_batch_not_found(batch bigint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'UW012',
        message = format('batch %s does not exist', _raise_batch_not_found.batch),
        hint = 'Its retention is over, its transaction was rolled back, or this is the id of a task.';
end;
$$;

comment on function underway._raise_batch_not_found(bigint) is 'Refuse a batch that does not exist.';
