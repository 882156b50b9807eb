-- _error: the stored form of an error: a JSON object with a message, at most 32 KiB including the keys that are added to it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._error(error jsonb)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_error jsonb := case jsonb_typeof(_error.error)
        when 'object' then jsonb_build_object('message', '') || _error.error
        when 'string' then jsonb_build_object('message', _error.error)
        else jsonb_build_object('message', coalesce(_error.error #>> '{}', 'no error was given'))
    end;
begin
    if octet_length(v_error::text) <= 32000 then
        return v_error;
    end if;

    -- 5,000 characters stay below the limit even if each takes six bytes as an escape. The end of a traceback is the part
    -- that names the error.
    return jsonb_build_object(
        'type', left(v_error ->> 'type', 200),
        'message', left(v_error ->> 'message', 1200),
        'traceback', right(v_error ->> 'traceback', 3600),
        'truncated', true
    );
end;
$$;

comment on function underway._error(jsonb) is
    'The stored form of an error: an object of at most 32 KiB. A longer one keeps its type, the beginning of its message and'
    ' the end of its traceback.';
