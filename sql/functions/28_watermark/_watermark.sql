-- _watermark: how far claims from a queue have come at one priority; no row while nobody has recorded it.
--
-- A plain SQL function without settings of its own, so that the planner puts it into the calling statement.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._watermark(queue text, priority integer)
returns setof underway.watermark
language sql
stable
rows 1
begin atomic
    select w.*
    from underway.watermark w
    where w.queue = _watermark.queue
      and w.priority = _watermark.priority
    order by w.version desc
    limit 1;
end;

comment on function underway._watermark(text, integer) is
    'The watermark of a queue and priority. One whose observed_at is more than a second in the future was written while the'
    ' clock was wrong and must be ignored.';
