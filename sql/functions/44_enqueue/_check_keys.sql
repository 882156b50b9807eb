-- _check_keys: refuse keys that no task may have, and what is said about keys that are not given.
--
-- Writes: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_keys(
    inputs jsonb[],
    unique_keys text[],
    on_conflict text,
    unique_for interval,
    concurrency_key text
)
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
            hint = 'Give one for each input; null for a task without.';
    end if;

    if _check_keys.on_conflict is null or _check_keys.on_conflict not in ('return', 'error', 'replace') then
        raise exception using
            errcode = 'UW001',
            message = format('on_conflict is %L', _check_keys.on_conflict),
            hint = 'Give ''return'', ''error'' or ''replace''.';
    end if;

    if _check_keys.unique_for is not null then
        perform underway._check_interval('unique_for', _check_keys.unique_for, '1 millisecond');
        if array_remove(coalesce(_check_keys.unique_keys, '{null}'), null) = '{}' and _check_keys.inputs <> '{}' then
            raise exception using
                errcode = 'UW001',
                message = format('unique_for %s is given without a unique key', _check_keys.unique_for),
                hint = 'Give the key that is to be taken for so long.';
        end if;
    end if;

    select given.name, given.key
    into v_problem
    from (
        select format('unique key %s', unique_.place) as name, unique_.key
        from unnest(_check_keys.unique_keys) with ordinality as unique_ (key, place)
        union all
        select 'the concurrency key', _check_keys.concurrency_key
    ) as given
    where octet_length(given.key) not between 1 and 1024
    limit 1;

    if found then
        raise exception using
            errcode = 'UW001',
            message = format('%s has %s bytes', v_problem.name, octet_length(v_problem.key)),
            hint = 'Give 1 to 1024 bytes of text; null for no key.';
    end if;
end;
$$;

comment on function underway._check_keys(jsonb[], text[], text, interval, text) is
    'Refuse keys that no task may have, and what is said about keys that are not given.';
