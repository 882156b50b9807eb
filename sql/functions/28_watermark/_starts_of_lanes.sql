-- _starts_of_lanes: the priorities that a queue uses, the highest first, each with the time where its ready tasks begin.
--
-- A plain SQL function without settings of its own, so that the planner puts it into the calling statement.
--
-- Writes: nothing.
-- Calls: _start_of_line.

create or replace function underway._starts_of_lanes(queue text, now timestamptz)
returns table (priority integer, starts_at timestamptz)
language sql
stable
begin atomic
    select used.priority, start.at
    from (
        select distinct p.priority
        from underway.queue_priority p
        where p.queue = _starts_of_lanes.queue
        order by p.priority desc
    ) used
    cross join lateral underway._start_of_line(_starts_of_lanes.queue, used.priority, _starts_of_lanes.now) start (at);
end;

comment on function underway._starts_of_lanes(text, timestamptz) is
    'The priorities that a queue uses, the highest first, each with the time from which on a claim looks for ready tasks.';
