-- _check_keys: refuse keys that no task may have, and options about unique keys where there are none.
--
-- Writes: nothing.
-- Calls: _check_interval.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_keys(inputs jsonb[], unique_keys text[], options underway.task_options)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_problem record;
begin
    if cardinality(_check_keys.unique_keys) <> cardinality(_check_keys.inputs) then
        raise exception using
            errcode = 'UW001',
            message = format(
                '%s unique keys are given for %s inputs',
                cardinality(_check_keys.unique_keys), cardinality(_check_keys.inputs)
            ),
            hint = 'Give one key for each input; null for a task without a key.';
    end if;

    if (_check_keys.options.on_conflict in ('return', 'error', 'replace')) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('on_conflict is %L', _check_keys.options.on_conflict),
            hint = 'Give ''return'', ''error'' or ''replace''.';
    end if;

    if (_check_keys.options.unique_until in ('finish', 'start')) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('unique_until is %L', _check_keys.options.unique_until),
            hint = 'Give ''finish'' or ''start''.';
    end if;

    if _check_keys.options.unique_for is not null then
        perform underway._check_interval('unique_for', _check_keys.options.unique_for, '1 millisecond');
        if _check_keys.options.unique_until = 'start' then
            raise exception using
                errcode = 'UW001',
                message = format(
                    'both unique_for %s and unique_until ''start'' are given', _check_keys.options.unique_for
                ),
                hint = 'Give one of them: unique_for keeps the key taken after the start.';
        end if;
    end if;

    if (_check_keys.options.unique_for is not null or _check_keys.options.unique_until = 'start')
       and _check_keys.inputs <> '{}'
       and not exists (select from unnest(_check_keys.unique_keys) as given (key) where given.key is not null) then
        raise exception using
            errcode = 'UW001',
            message = format(
                '%s is given without a unique key',
                coalesce('unique_for ' || _check_keys.options.unique_for, 'unique_until ''start''')
            ),
            hint = 'Give a unique_key, or leave it out.';
    end if;

    select given.name, octet_length(given.key) as size
    into v_problem
    from (
        select format('unique key %s', numbered.number) as name, numbered.key
        from unnest(_check_keys.unique_keys) with ordinality as numbered (key, number)
        union all
        select 'the concurrency key', _check_keys.options.concurrency_key
    ) as given
    where octet_length(given.key) not between 1 and 1024
    limit 1;

    if found then
        raise exception using
            errcode = 'UW001',
            message = format('%s has %s bytes', v_problem.name, v_problem.size),
            hint = 'Give 1 to 1024 bytes of text; null for no key.';
    end if;
end;
$$;

comment on function underway._check_keys(jsonb[], text[], underway.task_options) is
    'Refuse keys that no task may have, and options about unique keys where there are none.';
