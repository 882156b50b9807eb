-- _come_after: tasks that the caller has just enqueued wait until others have ended.
--
--   pending -> waiting
--
-- Writes: batch.
-- Refuses: UW001 invalid_argument, UW004 task_not_found, UW005 wrong_state.

create or replace function underway._come_after(tasks bigint[], after bigint[], after_failure text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_batch bigint;
begin
    if coalesce(_come_after.after_failure not in ('wait', 'fail', 'run'), true) then
        raise exception using
            errcode = 'UW001',
            message = format('after_failure is %L', _come_after.after_failure),
            hint = 'When a task that it comes after does not succeed: wait for its retry, fail too, or run all the same.';
    end if;
    if array_position(_come_after.after, null) is not null then
        raise exception using
            errcode = 'UW001',
            message = 'after has a null among its ids',
            hint = 'Give the ids of tasks, live or finished.';
    end if;
    if _come_after.tasks = '{}' or coalesce(_come_after.after, '{}') = '{}' then
        return;
    end if;

    -- A batch that nobody has asked for: its tasks are those, and these follow it.
    insert into underway.batch (created_at, ttl, listed)
    values (underway._clock(), '0', false)
    returning id into v_batch;

    perform underway._join_batch(v_batch, array(select distinct unnest(_come_after.after)));
    perform underway._begin_waiting(
        _come_after.tasks, v_batch,
        case _come_after.after_failure when 'run' then 'final' else 'success' end,
        _come_after.after_failure = 'fail'
    );
    perform underway._settle_batches(array[v_batch]);
end;
$$;

comment on function underway._come_after(bigint[], bigint[], text) is
    'Let new tasks wait until others have succeeded; after_failure says what happens when one of those does not.';
