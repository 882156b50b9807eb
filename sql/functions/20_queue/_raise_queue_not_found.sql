-- _raise_queue_not_found: raise the error for a queue that does not exist.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW003 queue_not_found.

create or replace function underway._raise_queue_not_found(queue text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'UW003',
        message = format('queue %L does not exist', _raise_queue_not_found.queue),
        hint = format('Create it first: select underway.create_queue(%L);', _raise_queue_not_found.queue);
end;
$$;

comment on function underway._raise_queue_not_found(text) is
    'Raise the error for a queue that does not exist. The hint is the call that would create it.';
