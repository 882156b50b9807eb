-- _append_error: add an error to those of a task, and drop the oldest beyond twenty.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._append_error(errors jsonb, error jsonb)
returns jsonb
language sql
immutable
begin atomic
    -- No pinned search_path: the names are bound already, and a pinned one would prevent inlining.
    select case
        when jsonb_array_length(_append_error.errors) >= 20 then _append_error.errors - 0
        else coalesce(_append_error.errors, '[]')
    end || jsonb_build_array(_append_error.error);
end;

comment on function underway._append_error(jsonb, jsonb) is
    'The errors of a task with one more: at most twenty, the newest last.';
