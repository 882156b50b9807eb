-- _tables_to_vacuum: the tables whose dead rows should be removed now. A function cannot vacuum: a worker does it.
--
-- Problem: autovacuum looks at a table once a minute by default. At 20,000 tasks/s a million rows are dead by then, and
-- the live table has grown to a hundred times its size.
-- Idea: look at the counts of dead rows each second. Rows that an old snapshot still sees cannot be removed, and the
-- table grows meanwhile. So the time between two vacuums of a table grows with its size, and vacuum never takes more
-- than a small part of the time.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway._tables_to_vacuum()
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    return array(
        select busy.name
        from (
            values
                ('task', 20000), ('batch_task', 5000), ('batch', 5000), ('dependent', 5000), ('watermark', 5000),
                ('deferred_renewal', 5000), ('queue_length', 5000), ('ready_key', 5000), ('token_bucket', 5000),
                ('unique_reservation', 5000), ('batch_to_reevaluate', 5000), ('uncounted', 5000), ('task_stat', 5000)
        ) as busy (name, max_dead_rows)
        -- Looked up first: reading the size of another table might wait for a session that truncates it.
        cross join lateral (select to_regclass(format('underway.%I', busy.name)) as oid offset 0) c
        where pg_stat_get_dead_tuples(c.oid) > busy.max_dead_rows
          and coalesce(
              greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))
                  < underway._clock() - interval '1 second' * (pg_total_relation_size(c.oid) / 40e6),
              true
          )
        order by busy.name
    );
end;
$$;

comment on function underway._tables_to_vacuum() is
    'The tables of this schema with so many dead rows that they should be vacuumed now: not before a second has passed for'
    ' each 40 MB of the table since its last vacuum.';
