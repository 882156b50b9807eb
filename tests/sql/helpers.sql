-- Fixtures of the pgTAP tests, named by the state that they give. Loaded once into the test database, after
-- sql/testing/underway_test.sql; its tests roll everything back.

create type underway_test.held as (id bigint, lease uuid);

-- stop_clock: from here on it is always the same time, until the transaction ends.
create or replace function underway_test.stop_clock()
returns timestamptz
language sql
as $$
    select underway_test.stop_clock('2030-01-01 12:00:00+00')
$$;

-- ready_task: a task that may be claimed now, in a queue that exists.
create function underway_test.ready_task(queue text default 'email', input jsonb default '{"to": "ferris@example.com"}')
returns bigint
language plpgsql
as $$
begin
    perform underway.create_queue(ready_task.queue);
    return underway.enqueue(ready_task.queue, ready_task.input, job => 'send_mail');
end;
$$;

-- keyed_task: a task that may be claimed once its concurrency key has room, in a queue that exists; without a key, a
-- plain one.
create function underway_test.keyed_task(
    key text,
    queue text default 'email',
    priority integer default 0,
    input jsonb default '{}'
)
returns bigint
language sql
as $$
    select underway.enqueue(
        keyed_task.queue, keyed_task.input, priority => keyed_task.priority, concurrency_key => keyed_task.key
    )
$$;

-- no_tasks: there is none, and nothing counts.
create function underway_test.no_tasks()
returns void
language sql
as $$
    delete from underway.task;
    delete from underway.ready_key;
    delete from underway.token_bucket;
$$;

-- keyed_tasks: tasks of these names, in this order; each has the concurrency key of its letters: a1 and a2 have a, and
-- what has no letter has none.
create function underway_test.keyed_tasks(names text, queue text default 'email', priority integer default 0)
returns void
language sql
as $$
    select underway_test.keyed_task(
        nullif(rtrim(named.name, '0123456789'), ''), keyed_tasks.queue, keyed_tasks.priority, to_jsonb(named.name)
    )
    from string_to_table(keyed_tasks.names, ' ') as named (name)
$$;

-- claimed: the names of the tasks that are claimed, in the order of the claim.
create function underway_test.claimed(max_tasks integer default 100, variadic queues text[] default '{email}')
returns text
language sql
as $$
    select coalesce(string_agg(c.input #>> '{}', ' '), '') from underway.dequeue(claimed.queues, claimed.max_tasks) c
$$;

-- claimed_later: the names of the tasks that are claimed a millisecond later. In a fair queue the next task of a key becomes
-- ready microseconds after the last one was claimed, so a claim at the same time does not see it.
create function underway_test.claimed_later(max_tasks integer default 100, variadic queues text[] default '{email}')
returns text
language plpgsql
as $$
begin
    perform underway_test.advance_clock('1 millisecond');
    return underway_test.claimed(claimed_later.max_tasks, variadic claimed_later.queues);
end;
$$;

-- done: those of these tasks that run are completed.
create function underway_test.done(names text)
returns void
language sql
as $$
    select
    from (
        select array_agg(t.id) as ids, array_agg(t.lease) as leases
        from underway.task t
        where t.input #>> '{}' = any (string_to_array(done.names, ' '))
          and t.state = 'in_progress'
    ) batch
    cross join underway.complete_many(batch.ids, batch.leases)
$$;

-- named: the id of the live task of this name.
create function underway_test.named(name text)
returns bigint
language sql
as $$
    select t.id from underway.task t where t.input = to_jsonb(named.name)
$$;

-- parked: the names of the tasks that wait for their keys, in the order of insertion.
create function underway_test.parked()
returns text
language sql
as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by t.id), '') from underway.task t where t.parked
$$;

-- ready: the names of the pending tasks that are not parked, in the order of insertion.
create function underway_test.ready()
returns text
language sql
as $$
    select coalesce(string_agg(t.input #>> '{}', ' ' order by t.id), '')
    from underway.task t
    where t.state = 'pending' and not t.parked
$$;

-- served: the names of so many tasks, which are claimed one by one, a millisecond apart, and completed.
create function underway_test.served(tasks integer, queue text default 'email')
returns text
language plpgsql
as $$
declare
    v_names text[] := '{}';
begin
    for v_number in 1..served.tasks loop
        v_names := v_names || underway_test.claimed_later(1, served.queue);
        perform underway_test.done(v_names[v_number]);
    end loop;
    return array_to_string(v_names, ' ');
end;
$$;

-- candidates: live tasks of these names, as a claim within limits reads them.
create function underway_test.candidates(names text)
returns underway.claim_candidate[]
language sql
as $$
    select array_agg(row(t.ctid, t.concurrency_key, t.ready_at, t.id)::underway.claim_candidate order by t.id)
    from underway.task t
    where t.input #>> '{}' = any (string_to_array(candidates.names, ' '))
$$;

-- queue: a queue with its settings, as functions take it.
create function underway_test.queue(name text default 'email')
returns underway.queue
language sql
as $$
    select q from underway.queue q where q.name = queue.name
$$;

-- held_task: a task that runs under a lease, in its n-th attempt.
create function underway_test.held_task(queue text default 'email', attempt integer default 1)
returns underway_test.held
language plpgsql
as $$
declare
    v_held underway_test.held;
begin
    v_held.id := underway_test.ready_task(held_task.queue);
    update underway.task t set attempt = held_task.attempt - 1, priority = 1000000 where t.id = v_held.id;
    perform underway._ensure_priority(held_task.queue, 1000000);
    select claimed.lease into strict v_held.lease
    from underway.dequeue(held_task.queue, 1) claimed
    where claimed.id = v_held.id;
    update underway.task t set priority = 0 where t.id = v_held.id;
    return v_held;
end;
$$;

-- finished_task: a task in the history.
create function underway_test.finished_task(state underway.task_state default 'succeeded', queue text default 'email')
returns bigint
language plpgsql
as $$
declare
    v_held underway_test.held := underway_test.held_task(finished_task.queue);
begin
    case finished_task.state
        when 'succeeded' then perform underway.complete(v_held.id, v_held.lease, '"sent"');
        when 'failed' then perform underway.fail(v_held.id, v_held.lease, '"refused"', retryable => false);
        when 'cancelled' then perform underway.cancel(v_held.id);
    end case;
    return v_held.id;
end;
$$;

-- state_of: where a task is, live or finished; null when it is nowhere.
create function underway_test.state_of(task bigint)
returns text
language sql
as $$
    select i.state::text from underway.task_info(state_of.task) i
$$;

-- times_of: the times for which a schedule has enqueued its tasks, in the order of the tasks.
create function underway_test.times_of(schedule text, format text default 'HH24:MI')
returns text[]
language sql
as $$
    select coalesce(
        array_agg(
            to_char((t.headers ->> 'scheduled_at')::timestamptz at time zone 'UTC', times_of.format) order by t.id
        ), '{}'
    )
    from (select id, headers from underway.task union all select id, headers from underway.task_history) t
    where t.headers ->> 'schedule' = times_of.schedule
$$;

-- hint_of: the hint with which a statement is refused; null when it is not.
create function underway_test.hint_of(statement text)
returns text
language plpgsql
as $$
declare
    v_hint text;
begin
    execute hint_of.statement;
    return null;
exception when others then
    get stacked diagnostics v_hint = pg_exception_hint;
    return v_hint;
end;
$$;

-- detail_of: the detail with which a statement is refused; null when it is not.
create function underway_test.detail_of(statement text)
returns text
language plpgsql
as $$
declare
    v_detail text;
begin
    execute detail_of.statement;
    return null;
exception when others then
    get stacked diagnostics v_detail = pg_exception_detail;
    return v_detail;
end;
$$;

-- count_statistics: maintain() has counted all that has happened so far. It counts what it saw in an earlier call.
create function underway_test.count_statistics()
returns void
language sql
as $$
    select underway._keep_statistics() from generate_series(1, 3)
$$;
