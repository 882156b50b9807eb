-- poll_interval: how long an idle worker may wait until it looks again while nothing is due: a second, and longer where
-- many idle workers serve the same queues.
--
-- Problem: a look (maintain, next_wakeup, worker_state) takes the server 0.2 ms. With 200 idle workers that look once a
-- second, this adds up to a few percent of a core, and most of these looks find nothing.
--
-- Idea: idle workers of the same queues share their looks. Up to 20 workers look once a second each. More of them look
-- 20 to 40 times a second together, at random times. A task is seen by any look in the second before it is due, and the
-- worker that has seen it starts it on time.
--
-- Invariant: no worker waits for more than 5 seconds. If all other workers die at once, the last one does the chores
-- again after that time.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway.poll_interval(worker bigint)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now    timestamptz := underway._clock();
    v_others bigint;
begin
    select count(*)
    into v_others
    from underway.worker own
    join underway.worker w on w.queues = own.queues
    where own.id = poll_interval.worker
      and own.idle
      and w.idle
      and w.seen_at between v_now - interval '20 seconds' and v_now + interval '20 seconds';

    if v_others <= 20 then
        return interval '1 second';
    end if;
    return (0.5 + random() / 2) * least(v_others / 20.0, 5) * interval '1 second';
end;
$$;

comment on function underway.poll_interval(bigint) is
    'How long an idle worker that listens for notifications may wait until it calls maintain and next_wakeup again, when'
    ' next_wakeup returned a second. It is a second; where more than 20 idle workers serve the same queues, up to five.';
