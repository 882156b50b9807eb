-- The schema underway_test: for databases that tests use, and for no others. `underway migrate --testing` runs this
-- file, `underway migrate --no-testing` calls underway_test.uninstall(). The schema marks a test database: the testing
-- kit of the Python package stops the clock and deletes tasks by these functions only, so it cannot do so elsewhere.
--
-- The assertions are pgTAP tests. They find pgTAP on the search_path when they are called.

do $$
begin
    if to_regnamespace('underway_test') is not null
        and coalesce(obj_description(to_regnamespace('underway_test'), 'pg_namespace'), '') not like 'Underway: %'
    then
        raise exception 'the schema underway_test of this database belongs to something else'
            using hint = 'Rename that schema, or use another database for tests.';
    end if;
end;
$$;

drop schema if exists underway_test cascade;
create schema underway_test;
comment on schema underway_test is 'Underway: for tests. The functions here stop the clock and delete tasks.';

-- The clock

create function underway_test.stop_clock(at timestamptz)
returns timestamptz
language plpgsql
volatile
as $$
begin
    execute format(
        'create or replace function underway._clock() returns timestamptz language sql volatile as %L',
        format('select %L::timestamptz', stop_clock.at)
    );
    return stop_clock.at;
end;
$$;

comment on function underway_test.stop_clock(timestamptz) is
    'Stop the clock of this database at a time, for all sessions; in a transaction that is rolled back, for this'
    ' transaction only. Returns the time.';

create function underway_test.stop_clock()
returns timestamptz
language sql
volatile
as 'select underway_test.stop_clock(underway._clock())';

comment on function underway_test.stop_clock() is 'Stop the clock now, as stop_clock(at) does. Returns the time.';

create function underway_test.advance_clock(by interval)
returns timestamptz
language plpgsql
volatile
as $$
begin
    return underway_test.stop_clock(underway._clock() + advance_clock.by);
end;
$$;

comment on function underway_test.advance_clock(interval) is
    'Move the clock by an interval; it stands still afterwards. Returns the time.';

create function underway_test._tick()
returns void
language plpgsql
volatile
as $$
begin
    if (select p.prosrc not like '%clock_timestamp%' from pg_proc p where p.oid = 'underway._clock()'::regprocedure) then
        perform underway_test.advance_clock('1 millisecond');
    end if;
end;
$$;

comment on function underway_test._tick() is
    'Move a stopped clock by a millisecond. In a fair queue the next task of a key becomes ready that soon after a claim.';

create function underway_test.start_clock()
returns void
language plpgsql
volatile
as $$
begin
    -- As in sql/functions/00_base/_clock.sql.
    create or replace function underway._clock()
    returns timestamptz
    language sql
    volatile
    as 'select pg_catalog.clock_timestamp()';
end;
$$;

comment on function underway_test.start_clock() is 'Let the clock show the time of the server again.';

-- The database

create function underway_test.clear()
returns void
language plpgsql
volatile
as $$
declare
    v_table text;
    v_is_empty boolean;
begin
    perform underway_test.start_clock();
    for v_table in
        select c.oid::regclass::text
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'r'
          and c.relname <> all ('{migration,installation,setting,stat_position,queue,queue_priority,job,schedule}')
    loop
        execute format('select not exists (select from %s)', v_table) into v_is_empty;
        if not v_is_empty then
            execute format('delete from %s', v_table); -- faster than truncate, for a test leaves few rows
        end if;
    end loop;
end;
$$;

comment on function underway_test.clear() is
    'Delete all tasks, live and finished, and all batches and workers, and start the clock. Queues, jobs, schedules and'
    ' settings stay.';

create function underway_test.uninstall()
returns void
language plpgsql
volatile
as $$
begin
    perform underway_test.start_clock();
    drop schema underway_test cascade;
end;
$$;

comment on function underway_test.uninstall() is 'Start the clock, and remove the schema underway_test.';

-- The tasks

create type underway_test.enqueued_task as (
    id bigint,
    queue text,
    job text,
    input jsonb,
    state underway.task_state,
    priority integer,
    attempt integer,
    ready_at timestamptz
);

create function underway_test.enqueued(job text default null, input jsonb default '{}', queue text default null)
returns setof underway_test.enqueued_task
language sql
stable
as $$
    select t.id, t.queue::text, t.job, t.input, t.state, t.priority, t.attempt, t.ready_at
    from underway.task t
    where (enqueued.job is null or t.job = enqueued.job)
      and (enqueued.queue is null or t.queue = enqueued.queue)
      and not exists (
          select from jsonb_each(enqueued.input) given
          where t.input -> given.key is distinct from given.value
      )
    order by t.id
$$;

comment on function underway_test.enqueued(text, jsonb, text) is
    'The live tasks of a job and a queue whose inputs have these values; other keys of the inputs do not matter. What is'
    ' null or left out matches any task.';

create function underway_test._described(job text, input jsonb, queue text)
returns text
language sql
stable
as $$
    select concat(
        coalesce(_described.job, 'any job'), ' in queue ' || _described.queue,
        ' with ' || nullif(_described.input, '{}')::text
    )
$$;

create function underway_test._others(job text, input jsonb)
returns text
language sql
stable
as $$
    select coalesce(string_agg(line, E'\n'), 'no task is live')
    from (
        select format('enqueued: task %s: %s in queue %s with %s', t.id, t.job, t.queue, t.input) as line
        from underway.task t
        order by
            t.job is not distinct from _others.job desc,
            (
                select count(*) from jsonb_each(_others.input) given
                where t.input -> given.key is not distinct from given.value
            ) desc,
            t.id desc
        limit 5
    ) nearest
$$;

create function underway_test.was_enqueued(
    job text,
    input jsonb default '{}',
    queue text default null,
    times integer default null,
    description text default null
)
returns text
language plpgsql
volatile
as $$
declare
    v_found  integer := (
        select count(*)
        from underway_test.enqueued(was_enqueued.job, was_enqueued.input, was_enqueued.queue)
    );
    v_passes boolean := case when times is null then v_found > 0 else v_found = times end;
    v_what   text := underway_test._described(job, input, queue);
begin
    return ok(v_passes, coalesce(description, v_what || ' was enqueued' || coalesce(' ' || times || ' times', '')))
        || case when v_passes then ''
            else E'\n' || diag(format('found %s times: %s', v_found, v_what))
                || E'\n' || diag(underway_test._others(job, input)) end;
end;
$$;

comment on function underway_test.was_enqueued(text, jsonb, text, integer, text) is
    'A pgTAP test: a live task of the job has these values in its input, or exactly so many tasks do. If it fails, it lists'
    ' what was enqueued instead, the nearest first.';

create function underway_test.was_not_enqueued(
    job text,
    input jsonb default '{}',
    queue text default null,
    description text default null
)
returns text
language sql
volatile
as $$
    select underway_test.was_enqueued(
        was_not_enqueued.job, was_not_enqueued.input, was_not_enqueued.queue, 0,
        coalesce(
            was_not_enqueued.description,
            underway_test._described(was_not_enqueued.job, was_not_enqueued.input, was_not_enqueued.queue)
                || ' was not enqueued'
        )
    )
$$;

comment on function underway_test.was_not_enqueued(text, jsonb, text, text) is
    'A pgTAP test: no live task of the job has these values in its input.';

create function underway_test.task_state_is(task bigint, state text, description text default null)
returns text
language plpgsql
volatile
as $$
declare
    v_found text := (select i.state::text from underway.task_info(task_state_is.task) i);
begin
    return "is"(
        coalesce(v_found, 'no such task'), task_state_is.state,
        coalesce(description, format('task %s is %s', task, task_state_is.state))
    );
end;
$$;

comment on function underway_test.task_state_is(bigint, text, text) is
    'A pgTAP test: the task, live or finished, is in this state.';
