-- _observe_positions: find out up to which ids all tasks and all rows of `uncounted` are committed or rolled back.
--
-- Problem: ids are given out before their transactions commit, so a reader that remembers the highest id that it has seen
-- misses rows with lower ids that are committed later.
-- Idea: a transaction that inserts a task or a row of `uncounted` holds RowExclusiveLock on `task` until it ends. Read the last
-- ids, then the holders of that lock. Once none of these transactions holds it any more, all rows up to these ids are
-- visible or will never be.
--
-- Writes: stat_position.
-- Calls: nothing.

create or replace function underway._observe_positions(
    out settled_task bigint,
    out settled_end bigint
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_position underway.stat_position;
    v_task     bigint;
    v_end    bigint;
    v_locks    text[];
begin
    select p.* into v_position from underway.stat_position p where p.only_row;
    if not found then
        insert into underway.stat_position default values on conflict do nothing;
        return;
    end if;

    -- A prepared transaction has another virtual id after a restart of the server: -1/...
    v_task := (select s.last_value - (not s.is_called)::integer from underway.task_id_seq s);
    v_end := (select s.last_value - (not s.is_called)::integer from underway.uncounted_id_seq s);
    v_locks := array(
        select l.virtualtransaction
        from pg_locks l
        where l.locktype = 'relation'
          and l.relation = 'underway.task'::regclass
          and l.database = (select d.oid from pg_database d where d.datname = current_database())
          and l.mode = 'RowExclusiveLock'
          and l.granted
          and l.pid is distinct from pg_backend_pid()
    );
    if exists (
        select
        from unnest(v_locks) as holder (id)
        where holder.id = any (v_position.observed_locks)
           or holder.id like '-1/%'
    ) then
        return;
    end if;

    _observe_positions.settled_task := v_position.observed_task;
    _observe_positions.settled_end := v_position.observed_end;
    update underway.stat_position p
    set observed_task = v_task, observed_end = v_end, observed_locks = v_locks
    where p.only_row
      and (p.observed_task, p.observed_end, p.observed_locks) is distinct from (v_task, v_end, v_locks);
end;
$$;

comment on function underway._observe_positions() is
    'The ids of tasks and of rows of `uncounted` up to which no row can appear any more; null while a transaction is'
    ' under way that could add one.';
