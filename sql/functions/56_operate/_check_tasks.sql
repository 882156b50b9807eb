-- _check_tasks: check the ids that a call for many tasks was given, and return them in ascending order without repetitions.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_tasks(tasks bigint[])
returns bigint[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if cardinality(_check_tasks.tasks) > 1000 then
        raise exception using
            errcode = 'UW001',
            message = format('%s tasks were given; the limit is 1000', cardinality(_check_tasks.tasks)),
            hint = 'Give at most 1000 ids in a call, and call it several times.';
    end if;

    return array(
        select distinct given.id from unnest(_check_tasks.tasks) as given (id) where given.id is not null order by 1
    );
end;
$$;

comment on function underway._check_tasks(bigint[]) is
    'These ids in ascending order, each once. Refuses more than 1000.';
