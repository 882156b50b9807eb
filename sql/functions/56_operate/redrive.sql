-- redrive: move dead letters back to the queues that they came from, as the tasks that they were.
--
-- A letter stays while another task has its unique key, and when its queue was dropped: a NOTICE says how many.
--
--   failed -> pending
--
-- Writes: nothing.
-- Calls: _check_claim, _redrive.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._report_orphans(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_orphans record;
begin
    for v_orphans in
        select t.dead_letter ->> 'queue' as queue, count(*) as letters
        from underway.task t
        where t.queue = _report_orphans.queue
          and t.state = 'pending'
          and t.dead_letter is not null
          and (select true from underway.queue q where q.name = t.dead_letter ->> 'queue') is null
        group by 1
        order by 1
    loop
        raise notice using
            message = format(
                '%s dead letters stay in queue %L: their queue %L was dropped',
                v_orphans.letters, _report_orphans.queue, v_orphans.queue
            ),
            hint = 'Create their queue again and redrive them, or cancel them.';
    end loop;
end;
$$;

comment on function underway._report_orphans(text) is
    'Raise a NOTICE for each dropped queue that dead letters of this queue came from.';

create or replace function underway.redrive(queue text, max_tasks integer default 1000)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_letters bigint[];
    v_moved   bigint[];
begin
    perform underway._check_claim(array[redrive.queue], redrive.max_tasks);

    v_letters := array(
        select t.id
        from underway.task t
        where t.queue = redrive.queue
          and t.state = 'pending'
          and t.dead_letter is not null
          and (select true from underway.queue q where q.name = t.dead_letter ->> 'queue')
        order by t.id
        limit redrive.max_tasks
        for update skip locked
    );
    v_moved := underway._redrive(v_letters);

    -- Only at the end of the letters: counting them in each of many calls would be slow.
    if cardinality(v_letters) < redrive.max_tasks then
        perform underway._report_orphans(redrive.queue);
    end if;

    return cardinality(v_moved);
end;
$$;

comment on function underway.redrive(text, integer) is
    'Move at most max_tasks waiting dead letters of a queue back to where they came from, under their own ids and with'
    ' fresh attempts. A letter stays while another task has its unique key, and when its queue was dropped, which a NOTICE'
    ' reports. Returns how many went.';
