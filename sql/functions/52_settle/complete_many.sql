-- complete_many: the holder reports a batch of tasks as done.
--
-- The size of outputs is the caller's concern here (setting max_output_size): one that is too large must not make the
-- results of the other tasks fail. The Python worker fails such a task alone.
--
--   in_progress -> succeeded
--
-- Writes: nothing.
-- Calls: _check_leases, _conclude.
-- Raises: UW001 invalid_argument.

create or replace function underway.complete_many(tasks bigint[], leases uuid[], outputs jsonb[] default null)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_checked constant boolean := underway._check_leases(complete_many.tasks, complete_many.leases);
begin
    return query
    select settled.id
    from unnest(underway._conclude(
        complete_many.tasks, complete_many.leases, 'succeeded', complete_many.outputs
    )) as settled (id);
end;
$$;

comment on function underway.complete_many(bigint[], uuid[], jsonb[]) is
    'Report a batch of tasks as done, each under its lease. Returns the ids that were settled; the leases of the others'
    ' are lost.';
