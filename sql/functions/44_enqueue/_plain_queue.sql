-- _plain_queue: the queue of a new task without options, if the task needs nothing but an insert there: one row, or none.
--
-- A plain SQL function without settings of its own, so that the planner puts it into the statement of its caller.
--
-- Writes: nothing.
-- Calls: _clock.

create or replace function underway._plain_queue(queue text, job text, priority integer)
returns setof text
language sql
stable
rows 1
begin atomic
    select q.name
    from underway.queue q
    where q.name = _plain_queue.queue
      and q.max_length is null
      -- A priority in use, and no watermark in the future: ready_at is the clock, read by the insert.
      and coalesce(
          (
              select w.observed_at
              from underway.watermark w
              where w.queue = q.name
                and w.priority = coalesce(_plain_queue.priority, 0)
              order by w.version desc
              limit 1
          ),
          case when coalesce(_plain_queue.priority, 0) = 0 then '-infinity'::timestamptz end
      ) <= underway._clock()
      and (
          not q.jobs_have_defaults
          or (
              select
                  j.concurrency_key is null and j.expires is null
                      and (j.priority is null or _plain_queue.priority is not null)
              from underway.job j
              where j.name = _plain_queue.job
          ) is not false
      );
end;

comment on function underway._plain_queue(text, text, integer) is
    'The queue, if a new task without options needs nothing but an insert there.';
