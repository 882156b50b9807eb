-- complete: the holder reports a task as done. Called in the handler's own transaction, its writes and the completion
-- commit together.
--
--   in_progress -> succeeded
--
-- Writes: nothing.
-- Calls: _check_leases, _conclude, _raise_lease_lost.
-- Raises: UW001 invalid_argument, UW002 lease_lost, UW014 output_too_large.

create or replace function underway._check_output(output jsonb)
returns jsonb
language plpgsql
stable
strict -- a task without an output pays nothing
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit bigint := (select s.max_output_size from underway.setting s where s.only_row);
    v_size  bigint := octet_length(_check_output.output::text);
begin
    if v_size > v_limit then
        raise exception using
            errcode = 'UW014',
            message = format('the output has %s bytes of text; the limit is %s', v_size, v_limit),
            hint = 'Store the data elsewhere and return a reference, or raise the limit: '
                'select underway.configure(max_output_size => ''64 MB'');';
    end if;

    return _check_output.output;
end;
$$;

comment on function underway._check_output(jsonb) is
    'The output itself. Refuses one that is larger than the setting max_output_size allows.';

create or replace function underway.complete(task bigint, lease uuid, output jsonb default null)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_checked constant boolean := underway._check_leases(array[complete.task], array[complete.lease]);
begin
    if underway._conclude(
        array[complete.task], array[complete.lease], 'succeeded', array[underway._check_output(complete.output)]
    ) = '{}' then
        perform underway._raise_lease_lost(complete.task, complete.lease);
    end if;
end;
$$;

comment on function underway.complete(bigint, uuid, jsonb) is
    'Report a task as done, with its output. A lost lease is refused, and aborts the transaction of the caller.';
