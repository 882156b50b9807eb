-- _prune_moved: forget where tasks have gone that were moved more than ninety days ago.
--
-- Writes: moved_task.
-- Calls: _clock.

create or replace function underway._prune_moved(max_rows integer default 10000)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_pruned integer;
begin
    delete from underway.moved_task m
    where m.id = any (array(
        select old.id
        from underway.moved_task old
        where old.moved_at < v_now - interval '90 days'
        order by old.moved_at
        limit _prune_moved.max_rows
        for update skip locked
    ));
    get diagnostics v_pruned = row_count;

    return v_pruned;
end;
$$;

comment on function underway._prune_moved(integer) is
    'Forget at most max_rows of the tasks that were moved more than ninety days ago. Returns how many there were.';
