-- why: why a task is not running, as far as the database knows: each reason with a code, a sentence and its numbers.
--
-- Writes: nothing.
-- Raises: UW004 task_not_found.

create or replace function underway._why_waiting(task underway.task, queue underway.queue, now timestamptz)
returns setof underway.reason
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_key     text := (_why_waiting.task).concurrency_key;
    v_running bigint[];
    v_number  bigint;
    v_at      timestamptz;
begin
    if (_why_waiting.task).ready_at > _why_waiting.now then
        return next row(
            'not_due',
            format('it is due at %s, in %s%s', (_why_waiting.task).ready_at, (_why_waiting.task).ready_at - _why_waiting.now,
                case when (_why_waiting.task).errors is not null then format(', after attempt %s failed', (_why_waiting.task).attempt) end),
            jsonb_build_object('ready_at', (_why_waiting.task).ready_at, 'attempt', (_why_waiting.task).attempt)
        )::underway.reason;
    end if;

    if (_why_waiting.queue).paused_at is not null then
        return next row(
            'queue_paused',
            format('queue %L is paused since %s', (_why_waiting.queue).name, (_why_waiting.queue).paused_at),
            jsonb_build_object('queue', (_why_waiting.queue).name, 'paused_at', (_why_waiting.queue).paused_at)
        )::underway.reason;
    end if;

    if v_key is not null then
        select p.paused_at
        into v_at
        from underway.paused_key p
        where p.queue = (_why_waiting.queue).name
          and p.concurrency_key = v_key;
        if found then
            return next row(
                'key_paused', format('concurrency key %L is paused since %s', v_key, v_at),
                jsonb_build_object('concurrency_key', v_key, 'paused_at', v_at)
            )::underway.reason;
        end if;

        v_running := array(
            select r.task
            from underway.running r
            where r.queue = (_why_waiting.queue).name
              and r.concurrency_key = v_key
            order by r.task
            limit greatest(100, (_why_waiting.queue).max_running_per_key)
        );
        if cardinality(v_running) >= (_why_waiting.queue).max_running_per_key then
            return next row(
                'key_taken',
                format('concurrency key %L is taken: %s of at most %s tasks of it run: %s', v_key, cardinality(v_running),
                    (_why_waiting.queue).max_running_per_key, array_to_string(v_running[1:100], ', ')),
                jsonb_build_object('concurrency_key', v_key, 'running', to_jsonb(v_running[1:100]),
                    'max_running_per_key', (_why_waiting.queue).max_running_per_key)
            )::underway.reason;
        end if;

        if (_why_waiting.queue).rate_limit_per_key is not null
           and underway._tokens(_why_waiting.queue, _why_waiting.now, v_key) < 1 then
            v_at := underway._token_at(_why_waiting.queue, _why_waiting.now, v_key);
            return next row(
                'key_rate_limit',
                format('the rate limit of concurrency key %L, %s in %s, is used up until %s', v_key,
                    (_why_waiting.queue).rate_limit_per_key, (_why_waiting.queue).rate_period, v_at),
                jsonb_build_object('concurrency_key', v_key, 'rate_limit_per_key',
                    (_why_waiting.queue).rate_limit_per_key, 'rate_period', (_why_waiting.queue).rate_period,
                    'until', v_at)
            )::underway.reason;
        end if;

        select count(*)
        into v_number
        from (
            select
            from underway.parked p
            where p.queue = (_why_waiting.queue).name
              and p.concurrency_key = v_key
              and (-p.priority, p.ready_at, p.task)
                  < (-(_why_waiting.task).priority, (_why_waiting.task).ready_at, (_why_waiting.task).id)
            limit 1000
        ) before;
        if v_number > 0 then
            return next row(
                'behind_key', format('%s tasks of concurrency key %L come before it', v_number, v_key),
                jsonb_build_object('concurrency_key', v_key, 'before', v_number)
            )::underway.reason;
        end if;
    end if;

    if (_why_waiting.queue).max_running is not null then
        select count(*)
        into v_number
        from (
            select
            from underway.running r
            where r.queue = (_why_waiting.queue).name
            limit (_why_waiting.queue).max_running
        ) running;
        if v_number >= (_why_waiting.queue).max_running then
            return next row(
                'max_running',
                format('%s tasks of queue %L run, and that is its max_running', v_number, (_why_waiting.queue).name),
                jsonb_build_object('queue', (_why_waiting.queue).name, 'running', v_number,
                    'max_running', (_why_waiting.queue).max_running)
            )::underway.reason;
        end if;
    end if;

    if (_why_waiting.queue).rate_limit is not null
       and underway._tokens(_why_waiting.queue, _why_waiting.now) < 1 then
        v_at := underway._token_at(_why_waiting.queue, _why_waiting.now);
        return next row(
            'rate_limit',
            format('the rate limit of queue %L, %s in %s, is used up until %s', (_why_waiting.queue).name,
                (_why_waiting.queue).rate_limit, (_why_waiting.queue).rate_period, v_at),
            jsonb_build_object('queue', (_why_waiting.queue).name, 'rate_limit', (_why_waiting.queue).rate_limit,
                'rate_period', (_why_waiting.queue).rate_period, 'until', v_at)
        )::underway.reason;
    end if;
end;
$$;

comment on function underway._why_waiting(underway.task, underway.queue, timestamptz) is
    'What holds a pending task back, beside workers.';

create or replace function underway._why_after(task bigint)
returns setof underway.reason
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_dependent underway.dependent;
    v_live     bigint[];
    v_failed   bigint[];
    v_gone     bigint[];
begin
    select f.* into v_dependent from underway.dependent f where f.task = _why_after.task;

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
            format('it runs when a task of batch %s does not succeed; %s of them are live', v_dependent.batch,
                case when cardinality(v_live) = 100 then 'a hundred or more' else cardinality(v_live)::text end),
            jsonb_build_object('batch', v_dependent.batch, 'live', to_jsonb(v_live))
        )::underway.reason;
        return;
    end if;

    if v_dependent.event = 'success' and v_live = '{}' and v_failed <> '{}' then
        -- A dead letter brings a task back that the history has forgotten (redrive).
        v_gone := array(
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
            format('it comes after tasks that have not succeeded: %s%s; %s',
                array_to_string(v_failed[1:10], ', '), case when cardinality(v_failed) > 10 then ', ...' else '' end,
                case
                    when v_gone = '{}' then 'it waits until they are retried'
                    else format('%s left the history and can not be retried: cancel it', array_to_string(v_gone[1:10], ', '))
                end),
            jsonb_build_object('batch', v_dependent.batch, 'failed', to_jsonb(v_failed), 'gone', to_jsonb(v_gone))
        )::underway.reason;
        return;
    end if;

    return next row(
        'after',
        case
            when v_live = '{}' then 'what it comes after has just ended: maintain() will see it'
            else format('it comes after tasks that are not final: %s%s', array_to_string(v_live[1:10], ', '),
                case when cardinality(v_live) > 10 then ', ...' else '' end)
        end,
        jsonb_build_object('batch', v_dependent.batch, 'live', to_jsonb(v_live))
    )::underway.reason;
end;
$$;

comment on function underway._why_after(bigint) is 'What a waiting task waits for.';

create or replace function underway.why(task bigint)
returns setof underway.reason
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_task    underway.task;
    v_queue   underway.queue;
    v_history underway.task_history;
    v_worker  text;
    v_workers text[];
    v_before  bigint;
    v_held    boolean;
    v_others  text;
begin
    select t.* into v_task from underway.task t where t.id = why.task;

    if not found then
        select h.* into v_history from underway.task_history h where h.id = why.task;
        if not found then
            perform underway._raise_wrong_state(why.task, 'is asked for', 'live or in the history');
        end if;
        return next row(
            'finished', format('it is %s since %s', v_history.state, v_history.finished_at),
            jsonb_build_object('state', v_history.state, 'finished_at', v_history.finished_at)
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
                    'it runs: attempt %s, by worker %s, since %s; its lease lasts until %s', v_task.attempt, v_worker,
                    v_task.started_at, v_task.lease_expires_at
                )
                else format(
                    'worker %s has not renewed its lease, which lapsed at %s: maintain() will take it back', v_worker,
                    v_task.lease_expires_at
                )
            end,
            jsonb_build_object('worker', v_worker, 'attempt', v_task.attempt, 'started_at', v_task.started_at,
                'lease_expires_at', v_task.lease_expires_at)
        )::underway.reason;
        return;
    end if;

    if v_task.state = 'waiting' then
        return query select * from underway._why_after(v_task.id);
        return;
    end if;

    select q.* into v_queue from underway.queue q where q.name = v_task.queue;
    if not found then
        return next row(
            'no_queue', format('there is no queue %L any more', v_task.queue), jsonb_build_object('queue', v_task.queue)
        )::underway.reason;
        return;
    end if;

    return query select * from underway._why_waiting(v_task, v_queue, v_now);
    v_held := found;

    v_workers := array(
        select w.name
        from underway.worker w
        where v_task.queue = any (w.queues)
          and w.seen_at >= v_now - interval '1 minute'
          and w.stop_asked_at is null
        order by w.name
    );
    if v_workers = '{}' then
        return next row(
            'no_worker', format('no worker that is alive serves queue %L', v_task.queue),
            jsonb_build_object('queue', v_task.queue)
        )::underway.reason;
    elsif not v_held then
        select count(*)
        into v_before
        from (
            select
            from underway.task t
            where t.queue = v_task.queue
              and t.state = 'pending'
              and not t.parked
              and t.priority = v_task.priority
              and (t.ready_at, t.id) < (v_task.ready_at, v_task.id)
            limit 1000
        ) before;
        -- The lock of claims from a queue with limits, and that of whoever changes this very row.
        select string_agg(case l.locktype
            when 'advisory' then format('; session %s claims from its queue, and others do when that is committed', l.pid)
            else format('; session %s has it locked', l.pid)
        end, '' order by l.locktype, l.pid)
        into v_others
        from pg_locks l
        where l.granted
          and l.pid <> pg_backend_pid()
          and (
              l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.objsubid = 2
                  and l.database = (select d.oid from pg_database d where d.datname = current_database())
                  and l.classid = hashtext('underway.claim')::oid and l.objid = hashtext(v_task.queue)::oid
              or l.locktype = 'transactionid'
                  and l.transactionid = (select t.xmax from underway.task t where t.id = why.task)
          );
        return next row(
            'in_line',
            format('nothing holds it back: %s, and %s workers serve its queue: %s%s',
                case
                    when v_queue.fair then 'the keys of its queue are served in turn'
                    when v_before = 1000 then 'a thousand or more tasks of its priority come before it'
                    else format('%s tasks of its priority come before it', v_before)
                end,
                cardinality(v_workers), array_to_string(v_workers, ', '), v_others),
            jsonb_build_object(
                'before', case when not v_queue.fair then v_before end, 'workers', to_jsonb(v_workers)
            )
        )::underway.reason;
    end if;
end;
$$;

comment on function underway.why(bigint) is
    'Why a task is not running: each reason with a code, a sentence and the numbers in it; one row at least.';
