-- queue_depth_over_time: how many live tasks there were, step by step over a time.
--
-- Writes: nothing.
-- Calls: _check_period.
-- Raises: UW001 invalid_argument.

create or replace function underway.queue_depth_over_time(
    since timestamptz,
    until timestamptz,
    step interval default null,
    queue text default null
)
returns setof underway.queue_depth_row
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    v_step  interval := underway._check_period(
        queue_depth_over_time.since, queue_depth_over_time.until, queue_depth_over_time.step
    );
    v_since timestamptz := date_bin(v_step, queue_depth_over_time.since, '2000-01-03 00:00:00+00');
begin
    -- The greatest numbers of each step. The row of all queues (with an empty name) shows that there was a sample.
    return query
    select
        slot.at, max(m.ready), max(m.scheduled), max(m.in_progress), max(m.waiting), max(m.oldest_ready_seconds)
    from generate_series(v_since, queue_depth_over_time.until - interval '1 microsecond', v_step) as slot (at)
    left join (
        select
            date_bin(v_step, a.at, '2000-01-03 00:00:00+00') as at,
            coalesce(d.ready, 0) as ready, coalesce(d.scheduled, 0) as scheduled,
            coalesce(d.in_progress, 0) as in_progress, coalesce(d.waiting, 0) as waiting, d.oldest_ready_seconds
        from underway.queue_depth a
        left join underway.queue_depth d on d.at = a.at and d.queue = coalesce(queue_depth_over_time.queue, '')
        where a.queue = ''
          and a.at >= v_since
          and a.at < queue_depth_over_time.until
    ) m on m.at = slot.at
    group by slot.at
    order by slot.at;
end;
$$;

comment on function underway.queue_depth_over_time(timestamptz, timestamptz, interval, text) is
    'How many live tasks there were from one time to another, in all queues or in one: a row for each step, with the'
    ' greatest numbers that maintain() found in it, once a minute; null where there was no sample. Ready tasks include'
    ' those that wait for their concurrency key.';
