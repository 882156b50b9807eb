-- failure_groups: the failures since a time, grouped by queue, job and error.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway._error_pattern(message text)
returns text
language sql
immutable
begin atomic
    -- Quoted values first, because they may contain numbers.
    select regexp_replace(
        regexp_replace(_error_pattern.message, '"[^"]*"|''[^'']*''|`[^`]*`', '*', 'g'),
        '\m(0x[0-9a-f]+|[0-9a-f]*[0-9][0-9a-f]*(-[0-9a-f]+)*)\M|[0-9]+([.,:][0-9]+)*', '*', 'gi'
    );
end;

comment on function underway._error_pattern(text) is
    'The message of an error with an asterisk in place of numbers and quoted values, so that similar errors are equal.';

create or replace function underway.failure_groups(
    since timestamptz,
    queue text default null,
    max_read integer default 10000
)
returns setof underway.failure_group
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return query
    select
        f.queue, f.job, f.error_type, f.message, count(*), count(*) filter (where f.kind = 'task_failed'),
        count(distinct f.task), min(f.at), max(f.at), (array_agg(f.task order by f.id desc))[1]
    from (
        select
            e.id, e.at, e.kind, e.queue, e.job, e.task, e.details ->> 'type' as error_type,
            underway._error_pattern(e.details ->> 'message') as message
        from (select * from underway.event newest order by newest.id desc limit failure_groups.max_read) e
        where e.kind in ('attempt_failed', 'task_failed')
          and e.at >= failure_groups.since
          and (failure_groups.queue is null or e.queue = failure_groups.queue)
    ) f
    group by f.queue, f.job, f.error_type, f.message
    order by count(*) desc, max(f.at) desc;
end;
$$;

comment on function underway.failure_groups(timestamptz, text, integer) is
    'The failed attempts since a time among the last max_read events, grouped by queue, job, type and message of the error, the'
    ' most frequent first. Numbers and quoted values in messages are replaced by an asterisk.';
