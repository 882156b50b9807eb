-- configure: change settings of the whole schema; an omitted one keeps its value.
--
-- Writes: setting.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_size(name text, size text)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_bytes bigint;
begin
    begin
        v_bytes := pg_size_bytes(_check_size.size);
    exception when invalid_parameter_value or numeric_value_out_of_range then
        v_bytes := -1;
    end;

    -- PostgreSQL stores no jsonb of 256 MB or more.
    if v_bytes not between 1024 and 267386880 then
        raise exception using
            errcode = 'UW001',
            message = format('%s is %L', _check_size.name, _check_size.size),
            hint = 'Give a size from 1 kB to 255 MB, for example ''4 MB''.';
    end if;

    return v_bytes;
end;
$$;

comment on function underway._check_size(text, text) is
    'A size, for example 4 MB, in bytes. Refuses one below 1 kB or above 255 MB.';

create or replace function underway.configure(max_input_size text default null, max_output_size text default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.setting s
    set
        max_input_size = coalesce(
            underway._check_size('max_input_size', configure.max_input_size), s.max_input_size
        ),
        max_output_size = coalesce(
            underway._check_size('max_output_size', configure.max_output_size), s.max_output_size
        );
end;
$$;

comment on function underway.configure(text, text) is
    'Change settings of the whole schema: max_input_size and max_output_size are the largest input and output of a task as'
    ' text, for example ''4 MB'' (at first 1 MB and 16 MB). An omitted setting keeps its value.';
