-- grant: which role may call which function and read which view. Nothing is granted to public, and no table to anybody,
-- but for VACUUM by workers: functions and views are the only interface.
--
--   underway_producer   enqueue tasks; wait until a task is final, and learn its state (docs/decisions/0023)
--   underway_worker     dequeue, settle, maintain
--   underway_observer   read the views and all that is stored about a task
--   underway_operator   queues, schedules, cancel, retry, redrive, wait; and all that an observer may
--
-- Each installation revokes everything from these roles first, so that a right which a version takes away is gone.
--
-- Writes: grants.
-- Calls: nothing.

revoke all on schema underway from public;
revoke all on all tables in schema underway from public;
revoke all on all functions in schema underway from public;

do $$
declare
    v_role     text;
    v_names    text[];
    v_function regprocedure;
begin
    for v_role, v_names in
        values
            ('underway_producer', array[
                'enqueue', '_enqueue_one', '_queue_of_job', 'enqueue_many', 'enqueue_unique', 'enqueue_batch',
                'extend_batch', 'retry_policy', 'watch', 'cron_next', 'cron_preview'
            ]),
            ('underway_worker', array[
                'dequeue', 'complete', 'complete_many', 'complete_and_dequeue', 'fail', 'fail_many', 'snooze',
                'release', 'snooze_many', 'release_many', 'heartbeat', 'report_progress', 'report_progress_many',
                'register_worker', 'unregister_worker', 'register_job', 'retry_policy', 'set_idle', 'pass_on',
                'set_skipped_jobs', 'next_wakeup', 'worker_state', 'maintain', 'run_schedules'
            ]),
            ('underway_observer', array[
                'task_info', 'export_tasks', 'why', 'stats', 'backoff', 'cron_next', 'cron_preview', 'histogram_bounds',
                'stats_over_time', 'stats_by_queue', 'stats_by_job', 'queue_depth_over_time', 'find_tasks',
                'count_tasks', 'batch_tasks', 'task_dependencies', 'events_after', 'last_event', 'failure_groups',
                'database_health', 'queue_counts'
            ]),
            ('underway_operator', array[
                'create_queue', 'register_job', 'unregister_job', 'configure', 'pause_queue', 'resume_queue',
                'pause_key', 'resume_key', 'drop_queue', 'retry_policy', 'cancel', 'cancel_batch', 'retry', 'redrive',
                'reschedule', 'reprioritize', 'delete_task', 'schedule', 'unschedule', 'pause_schedule',
                'resume_schedule', 'run_schedule_now', 'run_schedules', 'cron_next', 'cron_preview', 'maintain',
                'stop_workers', 'watch', 'why', 'histogram_bounds', 'stats_over_time', 'stats_by_queue', 'stats_by_job',
                'queue_depth_over_time', 'find_tasks', 'count_tasks', 'batch_tasks', 'task_dependencies',
                'events_after', 'last_event', 'failure_groups', 'database_health', 'queue_counts', 'cancel_many',
                'retry_many', 'delete_many', 'redrive_many', 'run_again', 'record_action', 'export_tasks',
                'move_status', 'pause_to_move', 'begin_move_batch', 'receive_move_batch', 'confirm_move_batch'
            ])
    loop
        -- Roles belong to the whole cluster. An installation into another database may be creating them now, or the
        -- installing user may not be allowed to; then an administrator creates them, and the next installation grants.
        begin
            if to_regrole(v_role) is null then
                execute format('create role %I nologin', v_role);
            end if;
        exception
            when duplicate_object or unique_violation then
                null;
            when insufficient_privilege then
                raise warning 'role % does not exist, and this user may not create it', v_role;
                continue;
        end;

        execute format('revoke all on schema underway from %I', v_role);
        execute format('revoke all on all tables in schema underway from %I', v_role);
        execute format('revoke all on all sequences in schema underway from %I', v_role);
        execute format('revoke all on all functions in schema underway from %I', v_role);

        execute format('grant usage on schema underway to %I', v_role);
        execute format('grant select on underway.error_code, underway.settings to %I', v_role);
        execute format('grant execute on function underway.schema_version(), underway.shard() to %I', v_role);
        for v_function in
            select p.oid
            from pg_catalog.pg_proc p
            where p.pronamespace = 'underway'::regnamespace
              and p.proname = any (v_names)
        loop
            execute format('grant execute on function %s to %I', v_function, v_role);
        end loop;

        -- So that workers can vacuum (72_upkeep/_tables_to_vacuum.sql). Before PostgreSQL 17 only the owner can.
        if v_role = 'underway_worker' and current_setting('server_version_num')::integer >= 170000 then
            execute format(
                'grant maintain on underway.task, underway.batch_task, underway.batch, underway.dependent,'
                ' underway.watermark, underway.deferred_renewal, underway.queue_length, underway.ready_key,'
                ' underway.token_bucket, underway.unique_reservation, underway.batch_to_reevaluate to %I', v_role
            );
        end if;

        -- A worker that may not change what differs from its code says what differs.
        if v_role <> 'underway_producer' then
            execute format('grant select on underway.job_list, underway.queue_list, underway.schedule_stats to %I', v_role);
        end if;

        if v_role in ('underway_observer', 'underway_operator') then
            execute format(
                'grant select on underway.task_list, underway.queue_stats, underway.worker_stats, underway.schedule_stats,'
                ' underway.batch_stats, underway.stats_total, underway.audit_list, underway.unfinished_moves'
                ' to %I', v_role
            );
            -- A view calls functions with the rights of its reader.
            execute format(
                'grant execute on function underway.task_info(bigint), underway.stats(), underway._clock() to %I', v_role
            );
        end if;
    end loop;
end;
$$;
