-- _start_of_line: from which time on a claim has to look for ready tasks of a queue and priority: the watermark, or
-- -infinity where there is none, or where it lies in the future because the clock was wrong.
--
-- A plain SQL function without settings of its own, so that the planner puts it into the calling statement.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._start_of_line(queue text, priority integer, now timestamptz)
returns setof timestamptz
language sql
stable
rows 1
begin atomic
    select coalesce(
        (
            select case when w.observed_at <= _start_of_line.now + interval '1 second' then w.ready_at end
            from underway.watermark w
            where w.queue = _start_of_line.queue
              and w.priority = _start_of_line.priority
            order by w.version desc
            limit 1
        ),
        '-infinity'
    );
end;

comment on function underway._start_of_line(text, integer, timestamptz) is
    'The time from which on a claim looks for ready tasks of a queue and priority.';
