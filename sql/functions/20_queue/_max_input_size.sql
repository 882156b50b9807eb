-- _max_input_size: the setting max_input_size, in bytes.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._max_input_size()
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select s.max_input_size from underway.setting s where s.only_row);
end;
$$;

comment on function underway._max_input_size() is 'How many bytes of text an input may have.';
