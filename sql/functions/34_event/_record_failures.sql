-- _record_failures: record that attempts have failed. The caller has locked the tasks, whose last error is that of the attempt.
--
-- Writes: event.
-- Calls: _clock.

create or replace function underway._record_failures(tasks bigint[], errors jsonb[], kind text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now timestamptz := underway._clock();
begin
    insert into underway.event (at, kind, queue, job, task, details)
    select
        v_now, _record_failures.kind, t.queue, t.job, t.id,
        jsonb_build_object(
            'attempt', t.attempt,
            'type', left(given.error ->> 'type', 200),
            'message', left(given.error ->> 'message', 200)
        ) || case
            when _record_failures.kind = 'task_failed' then jsonb_build_object('dead_letter', (
                select letter.id
                from underway.task letter
                where (letter.dead_letter ->> 'task')::bigint = t.id
                  and letter.dead_letter is not null
                limit 1 -- an order would let the planner read all tasks in that order
            ))
            else '{}'
        end
    from unnest(_record_failures.tasks, _record_failures.errors) as given (task, error)
    cross join lateral (
        -- The limit keeps this a look-up for each task under a generic plan.
        select one.id, one.queue, one.job, one.attempt from underway.task one where one.id = given.task limit 1
    ) t;

    if _record_failures.kind <> 'attempt_failed' then
        perform pg_notify('underway_event', '');
    end if;
end;
$$;

comment on function underway._record_failures(bigint[], jsonb[], text) is
    'Record an event for each of these tasks, whose attempt has failed with this error.';
