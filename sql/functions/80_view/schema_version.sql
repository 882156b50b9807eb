-- schema_version: the version of this schema, and the oldest Python package that works with it.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.schema_version(out version integer, out oldest_package integer)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select max(m.version) into schema_version.version from underway.migration m;

    -- Packages that know this migration, and no later one, still work with the functions of this version. Raise it when a
    -- function that they call is removed, or changes its meaning.
    schema_version.oldest_package := 1;
end;
$$;

comment on function underway.schema_version() is
    'The number of the newest migration of this schema, and the number of the newest migration in the oldest Python package'
    ' that works with it.';
