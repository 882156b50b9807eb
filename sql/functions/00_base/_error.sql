-- _error: an error as it is kept: an object with a message, of at most 32 KiB together with what is added to it.
--
-- Writes: nothing.

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

    -- A character takes at most four bytes, six as an escape: what is kept stays below the limit in any case. Of a
    -- traceback the end tells most.
    return jsonb_build_object(
        'type', left(v_error ->> 'type', 200),
        'message', left(v_error ->> 'message', 1200),
        'traceback', right(v_error ->> 'traceback', 3600),
        'truncated', true
    );
end;
$$;

comment on function underway._error(jsonb) is
    'An error as it is kept: an object of at most 32 KiB; a longer one keeps its type and the ends that tell most.';
