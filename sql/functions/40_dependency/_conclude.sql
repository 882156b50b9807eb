-- _conclude: finish tasks and do everything that follows from their end. Every settlement and cancellation ends here.
--
--   in_progress -> succeeded | failed
--   pending | waiting | in_progress -> cancelled
--
-- Writes: nothing.
-- Calls: _evaluate_batches, _finish, _record_ends.

create or replace function underway._conclude(
    tasks bigint[],
    leases uuid[],
    state underway.task_state,
    outputs jsonb[] default null
)
returns bigint[]
language plpgsql
volatile
as $$
declare
    v_finished underway.finish_result := underway._finish(
        _conclude.tasks, _conclude.leases, _conclude.state, _conclude.outputs
    );
begin
    if v_finished.with_effects is not null then
        perform underway._evaluate_batches(underway._record_ends(v_finished.with_effects, _conclude.state));
    end if;

    return v_finished.tasks;
end;
$$;

comment on function underway._conclude(bigint[], uuid[], underway.task_state, jsonb[]) is
    'Finish the tasks that are still under these leases (without leases: tasks that the caller has locked), release their'
    ' slots, notify watchers, and start, fail or cancel the tasks that wait for them. Returns the ids that were finished.';
