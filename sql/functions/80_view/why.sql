-- why: the reasons why a task is not running, as far as the database knows. Each has a code, a sentence, and the values of
-- the sentence as JSON. All reasons that apply are returned, at least one.
--
-- Writes: nothing.
-- Calls: _available_tokens, _clock, _limit_lock, _next_token_at, _raise_wrong_state.
-- Raises: UW004 task_not_found.

create or replace function underway._why_pending(task underway.task, queue underway.queue, now timestamptz)
returns setof underway.reason
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_key     text := (_why_pending.task).concurrency_key;
    v_running bigint[];
    v_number  bigint;
    v_at      timestamptz;
begin
    if (_why_pending.task).ready_at > _why_pending.now then
        return next row(
            'not_due',
            format('due at %s, in %s%s', (_why_pending.task).ready_at, (_why_pending.task).ready_at - _why_pending.now,
                case
                    when (_why_pending.task).errors is not null
                        then format('; attempt %s failed', (_why_pending.task).attempt)
                end),
            jsonb_build_object('ready_at', (_why_pending.task).ready_at, 'attempt', (_why_pending.task).attempt)
        )::underway.reason;
    end if;

    if (_why_pending.queue).paused_at is not null then
        return next row(
            'queue_paused',
            format('queue %L has been paused since %s', (_why_pending.queue).name, (_why_pending.queue).paused_at),
            jsonb_build_object('queue', (_why_pending.queue).name, 'paused_at', (_why_pending.queue).paused_at)
        )::underway.reason;
    end if;

    if v_key is not null then
        select p.paused_at
        into v_at
        from underway.paused_key p
        where p.queue = (_why_pending.queue).name
          and p.concurrency_key = v_key;
        if found then
            return next row(
                'key_paused', format('concurrency key %L has been paused since %s', v_key, v_at),
                jsonb_build_object('concurrency_key', v_key, 'paused_at', v_at)
            )::underway.reason;
        end if;

        v_running := array(
            select t.id
            from underway.task t
            where t.queue = (_why_pending.queue).name
              and t.holds_slot = (_why_pending.queue).has_slots
              and t.concurrency_key = v_key
              and not t.parked
              and t.state = 'in_progress'
            order by t.id
            limit greatest(100, (_why_pending.queue).max_running_per_key)
        );
        if cardinality(v_running) >= (_why_pending.queue).max_running_per_key then
            return next row(
                'key_full',
                format('concurrency key %L is full: %s running, max_running_per_key is %s: tasks %s', v_key,
                    cardinality(v_running), (_why_pending.queue).max_running_per_key,
                    array_to_string(v_running[1:100], ', ')),
                jsonb_build_object('concurrency_key', v_key, 'running', to_jsonb(v_running[1:100]),
                    'max_running_per_key', (_why_pending.queue).max_running_per_key)
            )::underway.reason;
        end if;

        if (_why_pending.queue).rate_limit_per_key is not null
           and underway._available_tokens(_why_pending.queue, _why_pending.now, v_key) < 1 then
            v_at := underway._next_token_at(_why_pending.queue, _why_pending.now, v_key);
            return next row(
                'key_rate_limit',
                format('concurrency key %L has used its rate limit of %s per %s; the next token comes at %s', v_key,
                    (_why_pending.queue).rate_limit_per_key, (_why_pending.queue).rate_period, v_at),
                jsonb_build_object('concurrency_key', v_key, 'rate_limit_per_key',
                    (_why_pending.queue).rate_limit_per_key, 'rate_period', (_why_pending.queue).rate_period,
                    'until', v_at)
            )::underway.reason;
        end if;

        select count(*)
        into v_number
        from (
            select
            from underway.task t
            where t.queue = (_why_pending.queue).name
              and not t.holds_slot
              and t.concurrency_key = v_key
              -- A task of a full key is parked, or stays ready while claims find others.
              and t.parked = any (case
                  when cardinality(v_running) < (_why_pending.queue).max_running_per_key then '{t}' else '{t,f}'
              end::boolean[])
              and t.state between 'pending' and 'pending'
              and (t.parked or t.ready_at <= _why_pending.now)
              and (-t.priority, t.ready_at, t.id)
                  < (-(_why_pending.task).priority, (_why_pending.task).ready_at, (_why_pending.task).id)
            limit 1000
        ) ahead;
        if v_number > 0 then
            return next row(
                'key_queued',
                format('%s of concurrency key %L ahead of it',
                    case
                        when v_number = 1000 then '1000 or more tasks' when v_number = 1 then '1 task'
                        else format('%s tasks', v_number)
                    end, v_key),
                jsonb_build_object('concurrency_key', v_key, 'ahead', v_number)
            )::underway.reason;
        end if;
    end if;

    if (_why_pending.queue).max_running is not null then
        select count(*)
        into v_number
        from (
            select
            from underway.task t
            where t.queue = (_why_pending.queue).name
              and t.holds_slot
            limit (_why_pending.queue).max_running
        ) running;
        if v_number >= (_why_pending.queue).max_running then
            return next row(
                'max_running',
                format('queue %L is at its limit: %s running, max_running is %s', (_why_pending.queue).name, v_number,
                    (_why_pending.queue).max_running),
                jsonb_build_object('queue', (_why_pending.queue).name, 'running', v_number,
                    'max_running', (_why_pending.queue).max_running)
            )::underway.reason;
        end if;
    end if;

    if (_why_pending.queue).rate_limit is not null
       and underway._available_tokens(_why_pending.queue, _why_pending.now) < 1 then
        v_at := underway._next_token_at(_why_pending.queue, _why_pending.now);
        return next row(
            'rate_limit',
            format('queue %L has used its rate limit of %s per %s; the next token comes at %s', (_why_pending.queue).name,
                (_why_pending.queue).rate_limit, (_why_pending.queue).rate_period, v_at),
            jsonb_build_object('queue', (_why_pending.queue).name, 'rate_limit', (_why_pending.queue).rate_limit,
                'rate_period', (_why_pending.queue).rate_period, 'until', v_at)
        )::underway.reason;
    end if;
end;
$$;

comment on function underway._why_pending(underway.task, underway.queue, timestamptz) is
    'The reasons why a pending task cannot be claimed, except workers.';

create or replace function underway._why_waiting(task bigint)
returns setof underway.reason
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_dependent underway.dependent;
    v_live      bigint[];
    v_failed    bigint[];
    v_missing   bigint[];
begin
    select f.* into v_dependent from underway.dependent f where f.task = _why_waiting.task;

    v_live := array(
        select m.task from underway.batch_task m
        where m.batch = v_dependent.batch and m.outcome is null
        order by m.task limit 100
    );
    v_failed := array(
        select m.task from underway.batch_task m
        where m.batch = v_dependent.batch and m.outcome is not null
        order by m.task limit 100
    );

    if v_dependent.event = 'failure' then
        return next row(
            'on_failure',
            format('runs when a task of batch %s fails or is cancelled; live tasks of the batch: %s', v_dependent.batch,
                case when cardinality(v_live) = 100 then '100 or more' else cardinality(v_live)::text end),
            jsonb_build_object('batch', v_dependent.batch, 'live', to_jsonb(v_live))
        )::underway.reason;
        return;
    end if;

    if v_dependent.event = 'success' and v_live = '{}' and v_failed <> '{}' then
        -- redrive can bring back a task that is no longer in the history from its dead letter.
        v_missing := array(
            select ended.id
            from unnest(v_failed) as ended (id)
            where (select true from underway.task_history h where h.id = ended.id limit 1) is null
              and (
                  select true from underway.task t
                  where (t.dead_letter ->> 'task')::bigint = ended.id and t.dead_letter is not null
                  limit 1
              ) is null
        );
        return next row(
            'after_failed',
            format('waits for tasks that did not succeed: %s%s; %s',
                array_to_string(v_failed[1:10], ', '), case when cardinality(v_failed) > 10 then ', ...' else '' end,
                case
                    when v_missing = '{}' then 'retry them, or cancel this task'
                    else format('%s can no longer be retried: cancel this task', array_to_string(v_missing[1:10], ', '))
                end),
            jsonb_build_object('batch', v_dependent.batch, 'failed', to_jsonb(v_failed), 'missing', to_jsonb(v_missing))
        )::underway.reason;
        return;
    end if;

    return next row(
        'after',
        case
            when v_live = '{}' then 'the tasks that it waits for have just finished; maintain() will make it ready'
            else format('waits for tasks that are not final: %s%s', array_to_string(v_live[1:10], ', '),
                case when cardinality(v_live) > 10 then ', ...' else '' end)
        end,
        jsonb_build_object('batch', v_dependent.batch, 'live', to_jsonb(v_live))
    )::underway.reason;
end;
$$;

comment on function underway._why_waiting(bigint) is
    'The reason why a waiting task does not become ready.';

create or replace function underway.why(task bigint)
returns setof underway.reason
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set datestyle = 'ISO'
set intervalstyle = 'postgres'
as $$
declare
    v_now      timestamptz := underway._clock();
    v_task     underway.task;
    v_queue    underway.queue;
    v_history  underway.task_history;
    v_worker   text;
    v_workers  text[];
    v_skipping text[];
    v_ahead    bigint;
    v_blocked  boolean;
    v_sessions text;
begin
    select t.* into v_task from underway.task t where t.id = why.task;

    if not found then
        select h.* into v_history from underway.task_history h where h.id = why.task;
        if not found then
            perform underway._raise_wrong_state(why.task, 'can be explained', 'live or in the history');
        end if;
        return next row(
            'finished',
            format('%s at %s', v_history.state, v_history.finished_at) || case when v_history.reason = 'expired' then
                format(': no worker had begun it by %s, when it expired', v_history.expires_at)
            else '' end,
            jsonb_build_object('state', v_history.state, 'finished_at', v_history.finished_at)
                || jsonb_strip_nulls(jsonb_build_object('reason', v_history.reason))
        )::underway.reason;
        return;
    end if;

    if v_task.state = 'in_progress' then
        select coalesce(w.name, v_task.worker::text, 'unknown')
        into v_worker
        from (select v_task.worker as id) held
        left join underway.worker w on w.id = held.id;

        return next row(
            case when v_task.lease_expires_at > v_now then 'running' else 'lease_lapsed' end,
            case
                when v_task.lease_expires_at > v_now then format(
                    'running: attempt %s, worker %s, since %s; lease until %s', v_task.attempt, v_worker,
                    v_task.started_at, v_task.lease_expires_at
                )
                else format(
                    'worker %s did not renew the lease, which lapsed at %s; maintain() will reclaim the task', v_worker,
                    v_task.lease_expires_at
                )
            end,
            jsonb_build_object('worker', v_worker, 'attempt', v_task.attempt, 'started_at', v_task.started_at,
                'lease_expires_at', v_task.lease_expires_at)
        )::underway.reason;
        return;
    end if;

    if v_task.expires_at <= v_now then
        return next row(
            'expired', format('expired at %s; maintain() will cancel it', v_task.expires_at),
            jsonb_build_object('expires_at', v_task.expires_at)
        )::underway.reason;
        return;
    elsif v_task.expires_at is not null then
        return next row(
            'expires',
            format('cancelled if no worker has begun it by %s, in %s', v_task.expires_at, v_task.expires_at - v_now),
            jsonb_build_object('expires_at', v_task.expires_at)
        )::underway.reason;
    end if;

    if v_task.state = 'waiting' then
        return query select * from underway._why_waiting(v_task.id);
        return;
    end if;

    select q.* into v_queue from underway.queue q where q.name = v_task.queue;
    if not found then
        return next row(
            'no_queue', format('queue %L was dropped', v_task.queue), jsonb_build_object('queue', v_task.queue)
        )::underway.reason;
        return;
    end if;

    return query select * from underway._why_pending(v_task, v_queue, v_now);
    v_blocked := found;

    select
        coalesce(array_agg(w.name order by w.name), '{}'),
        array_agg(w.name order by w.name) filter (where v_task.job = any (w.skipped_jobs))
    into v_workers, v_skipping
    from underway.worker w
    where v_task.queue = any (w.queues)
      and w.seen_at >= v_now - interval '1 minute'
      and w.stop_asked_at is null;
    if v_skipping is not null then
        return next row(
            'skipped',
            format('put back by workers that do not know job %L, or not with the arguments of all its tasks: %s',
                v_task.job, array_to_string(v_skipping, ', ')),
            jsonb_build_object('job', v_task.job, 'workers', to_jsonb(v_skipping))
        )::underway.reason;
        v_blocked := v_blocked or v_skipping = v_workers;
    end if;
    if v_workers = '{}' then
        return next row(
            'no_worker', format('no live worker serves queue %L', v_task.queue),
            jsonb_build_object('queue', v_task.queue)
        )::underway.reason;
    elsif not v_blocked then
        select count(*)
        into v_ahead
        from (
            select
            from underway.task t
            where t.queue = v_task.queue
              and t.state = 'pending'
              and not t.parked
              and t.priority = v_task.priority
              and (t.ready_at, t.id) < (v_task.ready_at, v_task.id)
            limit 1000
        ) ahead;

        -- Sessions that have claimed from a queue with limits, or have locked the row of the task, and have not committed.
        select string_agg(case l.locktype
            when 'advisory' then format('; session %s has claimed from the queue and not committed', l.pid)
            else format('; session %s has locked the task', l.pid)
        end, '' order by l.locktype, l.pid)
        into v_sessions
        from pg_locks l
        where l.granted
          and l.pid <> pg_backend_pid()
          and (
              l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.objsubid = 1
                  and l.database = (select d.oid from pg_database d where d.datname = current_database())
                  and (l.classid::bigint << 32 | l.objid::bigint) = underway._limit_lock(v_task.queue)
              or l.locktype = 'transactionid'
                  and l.transactionid = (select t.xmax from underway.task t where t.id = why.task)
          );
        return next row(
            'queued',
            format('ready: %s; live workers of queue %L: %s%s',
                case
                    when v_queue.fair then 'the concurrency keys of its queue are served in turn'
                    when v_ahead = 1000 then '1000 or more tasks of its priority are ahead of it'
                    when v_ahead = 1 then '1 task of its priority is ahead of it'
                    else format('%s tasks of its priority are ahead of it', v_ahead)
                end,
                v_task.queue, array_to_string(v_workers, ', '), v_sessions),
            jsonb_build_object(
                'ahead', case when not v_queue.fair then v_ahead end, 'workers', to_jsonb(v_workers)
            )
        )::underway.reason;
    end if;
end;
$$;

comment on function underway.why(bigint) is
    'Why a task is not running: one row for each reason, with a code, a sentence, and its values as JSON.';
