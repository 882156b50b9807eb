-- _percentile: the duration that a fraction of the counted durations did not exceed, estimated from a histogram.
--
-- Within a bucket the durations are taken to be spread evenly, as Prometheus does.
--
-- Writes: nothing.
-- Calls: histogram_bounds.

create or replace function underway._percentile(histogram bigint[], fraction double precision)
returns double precision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_bounds double precision[] := underway.histogram_bounds();
    v_rank   double precision;
    v_below  double precision := 0;
    v_lower  double precision := 0;
begin
    v_rank := _percentile.fraction * (select sum(counted.tasks) from unnest(_percentile.histogram) as counted (tasks));
    for v_bucket in 1..coalesce(cardinality(_percentile.histogram), 0) loop
        if _percentile.histogram[v_bucket] > 0 then
            if v_bucket > 27 then
                return v_bounds[27];
            end if;
            if v_below + _percentile.histogram[v_bucket] >= v_rank then
                v_lower := coalesce(v_bounds[v_bucket - 1], 0);
                return v_lower
                    + (v_bounds[v_bucket] - v_lower) * (v_rank - v_below) / _percentile.histogram[v_bucket];
            end if;
            v_below := v_below + _percentile.histogram[v_bucket];
        end if;
    end loop;

    return null;
end;
$$;

comment on function underway._percentile(bigint[], double precision) is
    'The duration in seconds that this fraction of the counted durations did not exceed; null without any.';
