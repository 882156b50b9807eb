-- _notify_idle_workers: tell many idle workers whether they need to look for work before the chores are done the next time.
--
-- Problem: an idle worker looks once a second for tasks that become due, and tries to do the chores, in case that all other
-- workers have died. Two hundred idle workers take a fifth of a core of the server in this way, although one look would do.
-- Idea: the session that does the chores looks for all of them and sends the result on the channel underway_look: `none` if
-- nothing is due within two seconds, `due` otherwise. A worker that has received `none` looks again after 1.75 seconds at the
-- latest, unless it receives it again. So a lapsed lease is still noticed within two seconds when that session
-- has ended.
--
-- A notification wakes each session that listens, so a few workers, which cost little, receive none.
--
-- Writes: nothing.
-- Calls: _clock, next_wakeup.

create or replace function underway._notify_idle_workers()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_workers integer;
    v_bytes   bigint;
    v_look    text;
begin
    -- Workers of very many queues are not read: that would cost more than their looks.
    select count(*), sum(pg_column_size(w.queues))
    into v_workers, v_bytes
    from underway.worker w
    where w.idle
      and w.seen_at between v_now - interval '30 seconds' and v_now + interval '30 seconds';

    if v_workers < 10 or v_bytes > 200000 then
        return null;
    end if;

    v_look := case
        when underway.next_wakeup(
            array(
                select distinct served.queue
                from (
                    select distinct w.queues
                    from underway.worker w
                    where w.idle
                      and w.seen_at between v_now - interval '30 seconds' and v_now + interval '30 seconds'
                ) alike
                cross join unnest(alike.queues) as served (queue)
            ),
            at_most => '2 seconds'
        ) < '2 seconds' then 'due'
        else 'none'
    end;
    perform pg_notify('underway_look', v_look);

    return v_look;
end;
$$;

comment on function underway._notify_idle_workers() is
    'Tell many idle workers whether they need to look for work. Returns what was sent, or null.';
