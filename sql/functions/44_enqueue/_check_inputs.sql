-- _check_inputs: refuse inputs that are null or larger than the setting max_input_size allows.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument, UW007 input_too_large.

create or replace function underway._check_inputs(inputs jsonb[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit   bigint := (select s.max_input_size from underway.setting s where s.only_row);
    v_problem record;
begin
    if _check_inputs.inputs is null then
        raise exception using
            errcode = 'UW001',
            message = 'the inputs are null',
            hint = 'Give an array with a JSON value for each task.';
    end if;

    select given.number, octet_length(given.input::text) as size
    into v_problem
    from unnest(_check_inputs.inputs) with ordinality as given (input, number)
    where (octet_length(given.input::text) <= v_limit) is not true
    order by given.number
    limit 1;

    if v_problem.size is not null then
        raise exception using
            errcode = 'UW007',
            message = format('input %s has %s bytes of text; the limit is %s', v_problem.number, v_problem.size, v_limit),
            hint = 'Store the data elsewhere and enqueue a reference, or raise the limit: '
                'select underway.configure(max_input_size => ''4 MB'');';
    elsif found then
        raise exception using
            errcode = 'UW001',
            message = format('input %s is null', v_problem.number),
            hint = 'Give a JSON value for each task; the JSON null is ''null''.';
    end if;
end;
$$;

comment on function underway._check_inputs(jsonb[]) is
    'Refuse inputs that are null or larger than the setting max_input_size allows.';
