-- _raise_unique_conflict: refuse a task whose unique key another task holds.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW010 unique_conflict.

create or replace function underway._raise_unique_conflict(queue text, unique_key text, holder bigint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'UW010',
        message = format(
            'the key %L of queue %L is taken by task %s',
            _raise_unique_conflict.unique_key, _raise_unique_conflict.queue, _raise_unique_conflict.holder
        ),
        hint = 'Wait until that task has ended, or cancel it. When you enqueue, on_conflict => ''return'' returns its id, '
            'and ''replace'' changes it while it is pending.';
end;
$$;

comment on function underway._raise_unique_conflict(text, text, bigint) is
    'Refuse a task whose unique key another task holds; the message names that task.';
