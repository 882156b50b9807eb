-- snooze_many: the holder puts tasks back for later, each with a delay; their attempts do not count.
--
--   in_progress -> pending
--
-- Writes: nothing.
-- Calls: _check_interval, _check_leases, _clock, _lock_held, _requeue.
-- Raises: UW001 invalid_argument.

create or replace function underway.snooze_many(tasks bigint[], leases uuid[], delays interval[])
returns setof underway.failed_task
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now      timestamptz := underway._clock();
    v_held     bigint[];
    v_ready_at timestamptz[];
begin
    perform underway._check_leases(snooze_many.tasks, snooze_many.leases);
    if cardinality(snooze_many.tasks) is distinct from cardinality(snooze_many.delays)
       or array_position(snooze_many.delays, null) is not null then
        raise exception using
            errcode = 'UW001',
            message = format('%s tasks and %s delays', coalesce(cardinality(snooze_many.tasks), 0),
                coalesce(cardinality(array_remove(snooze_many.delays, null)), 0)),
            hint = 'Give one delay for each task, in the same order, or use underway.release_many.';
    end if;
    perform underway._check_interval('delay', given.value, '0') from unnest(snooze_many.delays) as given (value);

    v_held := underway._lock_held(snooze_many.tasks, snooze_many.leases);

    -- In the order of the locked tasks; of a task that is given twice the longest delay counts.
    select array_agg(later.ready_at order by held.position)
    into v_ready_at
    from unnest(v_held) with ordinality as held (id, position)
    join (
        select given.task, v_now + max(given.delay) filter (where given.delay > '0') as ready_at
        from unnest(snooze_many.tasks, snooze_many.delays) as given (task, delay)
        group by given.task
    ) later on later.task = held.id;

    return query select * from underway._requeue(v_held, v_ready_at);
end;
$$;

comment on function underway.snooze_many(bigint[], uuid[], interval[]) is
    'Put a batch of tasks back for later, each after its delay, without using up an attempt; with a delay of 0 a task'
    ' keeps its place. Returns when each will be ready; the leases of the others are lost.';
