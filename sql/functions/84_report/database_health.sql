-- database_health: the state of the database as far as it concerns the queue.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway.database_health()
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    v_started timestamptz := underway._clock();
    v_wal     double precision;
    v_ahead   interval;
begin
    -- A table that is not logged cannot be read on a standby.
    if not pg_is_in_recovery() then
        v_ahead := (select max(u.last_run_at) from underway.upkeep u) - v_started;
    end if;

    if current_setting('server_version_num')::integer >= 140000 then
        select w.wal_bytes::double precision / nullif(extract(epoch from v_started) - extract(epoch from w.stats_reset), 0)
        into v_wal
        from pg_stat_wal w;
    end if;

    return jsonb_build_object(
        'tables', (
            select coalesce(jsonb_agg(to_jsonb(r) order by r.bytes desc, r.name), '[]')
            from (
                select
                    g.name, sum(pg_table_size(s.relid))::bigint as bytes, sum(pg_indexes_size(s.relid))::bigint as index_bytes,
                    sum(s.n_live_tup)::bigint as live_rows, sum(s.n_dead_tup)::bigint as dead_rows,
                    max(s.last_autovacuum) as last_autovacuum, max(s.last_autoanalyze) as last_autoanalyze
                from pg_stat_all_tables s
                cross join lateral (
                    -- The partitions of the history are one table.
                    select case when s.relname like 'task_history\_%' then 'task_history' else s.relname::text end as name
                ) g
                where s.schemaname = 'underway'
                group by g.name
            ) r
        ),
        'oldest_snapshot', (
            select to_jsonb(r)
            from (
                select
                    a.pid, a.application_name, a.state, a.query_start,
                    round(extract(epoch from v_started - coalesce(a.xact_start, a.query_start))::numeric, 3) as age_seconds,
                    age(a.backend_xmin) as xmin_age
                from pg_stat_activity a
                where a.backend_xmin is not null
                  and a.pid <> pg_backend_pid()
                order by age(a.backend_xmin) desc, a.pid
                limit 1
            ) r
        ),
        'prepared_transactions', (select count(*) from pg_prepared_xacts),
        'replication_slots', (
            select coalesce(jsonb_agg(to_jsonb(r) order by r.name), '[]')
            from (
                select
                    s.slot_name::text as name, s.active, greatest(age(s.xmin), age(s.catalog_xmin)) as xmin_age,
                    case when not pg_is_in_recovery() then
                        pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint
                    end as retained_bytes
                from pg_replication_slots s
            ) r
        ),
        'notification_queue_usage', pg_notification_queue_usage(),
        'wal_bytes_per_second', v_wal,
        'database_bytes', pg_database_size(current_database()),
        'missing_indexes', (
            select coalesce(jsonb_agg(expected.name order by expected.name), '[]')
            from unnest('{
                batch_task_live, batch_task_unsuccessful, batch_to_prune, deferred_renewal_to_prune,
                dependent_to_evaluate, job_by_dead_letter_queue, job_by_queue, queue_length_by_queue,
                ready_key_to_check, schedule_to_run, task_by_key, task_dead_letter, task_history_by_id,
                task_history_to_prune, task_history_unsuccessful, task_to_dequeue, task_to_expire, task_to_reclaim,
                task_unique, token_bucket_to_prune, unique_reservation_to_prune, worker_to_wake
            }'::text[]) as expected (name)
            where to_regclass(format('underway.%I', expected.name)) is null
        ),
        'invalid_indexes', (
            select coalesce(jsonb_agg(c.relname order by c.relname), '[]')
            from pg_index i
            join pg_class c on c.oid = i.indexrelid
            where c.relnamespace = 'underway'::regnamespace
              and not i.indisvalid
        ),
        'autovacuum', jsonb_build_object(
            'enabled', current_setting('autovacuum')::boolean,
            'naptime_seconds', extract(epoch from current_setting('autovacuum_naptime')::interval)::integer,
            'workers', current_setting('autovacuum_max_workers')::integer
        ),
        'connections', jsonb_build_object(
            'used', (select count(*) from pg_stat_activity a where a.backend_type = 'client backend'),
            'max', current_setting('max_connections')::integer
        ),
        'clock_ahead_seconds', coalesce(greatest(extract(epoch from v_ahead), 0), 0),
        'server_version', current_setting('server_version'),
        'settings', (
            select jsonb_object_agg(s.name, s.setting)
            from pg_settings s
            where s.name in (
                'jit', 'track_counts', 'autovacuum', 'fsync', 'synchronous_commit', 'full_page_writes', 'max_connections',
                'shared_buffers', 'work_mem', 'wal_level', 'idle_in_transaction_session_timeout', 'statement_timeout',
                'default_transaction_isolation', 'TimeZone'
            )
        )
    );
end;
$$;

comment on function underway.database_health() is
    'The state of the database as far as it concerns the queue, as a JSON object: sizes and dead rows of the tables,'
    ' the oldest snapshot, replication slots, indexes, autovacuum, connections and settings.';
