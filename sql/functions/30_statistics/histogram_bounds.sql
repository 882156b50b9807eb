-- histogram_bounds: the upper bounds of the buckets in which run times and waiting times are counted.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.histogram_bounds()
returns double precision[]
language sql
immutable
security definer
set search_path = pg_catalog, pg_temp
begin atomic
    select array_agg(0.001::double precision * power(2::double precision, bound.k) order by bound.k)
    from generate_series(0, 26) as bound (k);
end;

comment on function underway.histogram_bounds() is
    'The upper bounds, in seconds, of the first 27 buckets of each histogram: from a millisecond to 19 hours, each'
    ' twice the one before. A 28th bucket counts what took longer.';
