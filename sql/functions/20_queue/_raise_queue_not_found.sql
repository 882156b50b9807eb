-- _raise_queue_not_found: refuse the name of a queue that does not exist.
--
-- Writes: nothing.
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
    'Refuse the name of a queue that does not exist, with the call that would create it.';
