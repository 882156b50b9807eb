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
    -- The greatest numbers of each step.
    return query
    select
        slot.at, max(m.ready), max(m.scheduled), max(m.in_progress), max(m.waiting), max(m.oldest_ready_seconds)
    from generate_series(v_since, queue_depth_over_time.until - interval '1 microsecond', v_step) as slot (at)
    left join (
        select
            d.at, sum(d.ready)::bigint as ready, sum(d.scheduled)::bigint as scheduled,
            sum(d.in_progress)::bigint as in_progress, sum(d.waiting)::bigint as waiting,
            max(d.oldest_ready_seconds) as oldest_ready_seconds
        from underway.queue_depth d
        where d.at >= v_since
          and d.at < queue_depth_over_time.until
          and (queue_depth_over_time.queue is null or d.queue = queue_depth_over_time.queue)
        group by d.at
    ) m on date_bin(v_step, m.at, '2000-01-03 00:00:00+00') = slot.at
    group by slot.at
    order by slot.at;
end;
$$;

comment on function underway.queue_depth_over_time(timestamptz, timestamptz, interval, text) is
    'How many live tasks there were from one time to another, in all queues or in one: a row for each step, with the greatest'
    ' numbers that maintain() found in it, once a minute.';
