-- Cron expressions, and the schedules that enqueue by them.

-- A cron expression that was read. Each field is a row of bits: its first bit stands for its lowest value, and is set
-- when that value matches. `years` is null for every year. `days_by_rule` are the days of a month that no bit can
-- name: 15W is a nearest weekday (LW is 31W), L the last day, 5#3 the third Friday, 5L the last one.
create type underway.cron as (
    seconds        bit varying,
    minutes        bit varying,
    hours          bit varying,
    days           bit varying,
    months         bit varying,
    weekdays       bit varying,
    years          bit varying,
    days_by_rule   text[],
    every_day      boolean,
    every_weekday  boolean,
    repeats        boolean
);

-- `next_at` is the next time of the schedule that was not given out yet; it is null when none comes any more.
-- `look_at` is when run_schedules looks at it again: at next_at, or a while after an error; null while it is paused.
create table underway.schedule (
    name          text collate "C" primary key,
    next_at       timestamptz,
    look_at       timestamptz,
    last_at       timestamptz,
    last_task     bigint,
    last_error    jsonb,
    last_error_at timestamptz,
    paused_at     timestamptz,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    starts_at     timestamptz,
    ends_at       timestamptz,
    queue         text collate "C" not null,
    job           text,
    cron          text not null,
    time_zone     text not null,
    missed        text not null,
    missed_limit  integer not null,
    overlap       text not null,
    jitter        interval not null,
    owner         text,
    priority      integer not null,
    input         jsonb not null,
    headers       jsonb,
    retry_policy  underway.retry_policy,
    timeout       interval,
    heartbeat     interval,
    ttl           interval,

    constraint missed_times_are_skipped_or_made_up_for check (missed in ('skip', 'once', 'all')),
    constraint an_overlap_is_allowed_or_skipped check (overlap in ('allow', 'skip')),
    constraint a_schedule_is_looked_at_while_a_time_is_to_come check (
        (look_at is not null) = (next_at is not null and paused_at is null)
    )
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index schedule_to_run on underway.schedule (look_at) where look_at is not null;
