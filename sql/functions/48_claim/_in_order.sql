-- _in_order: places of tasks, those that became ready first before the others.
--
-- Writes: nothing.

create or replace function underway._in_order(rows tid[])
returns tid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
begin
    return array(
        select t.ctid
        from underway.task t
        where t.ctid = any (_in_order.rows)
        order by t.ready_at, t.id
    );
end;
$$;

comment on function underway._in_order(tid[]) is
    'The places of tasks, in the order in which these became ready.';
