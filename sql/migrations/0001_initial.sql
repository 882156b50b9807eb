-- Queues, tasks, their history, and the workers that serve them.

-- Those of live tasks, then the final ones.
create type underway.task_state as enum ('pending', 'in_progress', 'waiting', 'succeeded', 'failed', 'cancelled');

create type underway.retry_policy as (
    max_attempts     integer,
    initial_interval interval,
    max_interval     interval,
    factor           double precision,
    jitter           double precision
);

-- The options that tasks have in common when they are enqueued together.
create type underway.task_options as (
    job             text,
    delay           interval,
    run_at          timestamptz,
    priority        integer,
    expires         interval,
    expires_at      timestamptz,
    retry_policy    underway.retry_policy,
    timeout         interval,
    heartbeat       interval,
    retention       interval,
    headers         jsonb,
    on_conflict     text,
    unique_for      interval,
    unique_until    text,
    concurrency_key text,
    after           bigint[],
    after_failure   text
);

-- What `dequeue` hands to a worker.
create type underway.claimed_task as (
    id          bigint,
    queue       text,
    job         text,
    input       jsonb,
    attempt     integer,
    lease       uuid,
    timeout     interval,
    heartbeat   interval,
    headers     jsonb,
    priority    integer,
    enqueued_at timestamptz,
    dead_letter jsonb,
    max_attempts integer
);

-- A priority of a queue where a claim looks for tasks.
create type underway.lane as (
    queue    text,
    priority integer
);

-- The ready tasks that a claim within limits has locked in order to start them.
create type underway.locked_tasks as (
    tasks      tid[],
    priorities integer[]
);

-- What a job sets for the attempts of its tasks, as a claim looks it up.
create type underway.attempt_settings as (
    timeout      interval,
    heartbeat    interval,
    max_attempts integer
);

-- A finished task whose end has effects: somebody watches it, a batch has it, or it held or waited for a slot.
create type underway.finished_task as (
    id              bigint,
    queue           text,
    concurrency_key text,
    watched         boolean,
    in_batch        boolean,
    holds_slot      boolean,
    parked          boolean
);

-- What one call of _finish has finished. `with_effects` is null when no task has effects, as in a plain queue.
create type underway.finish_result as (
    tasks        bigint[],
    with_effects underway.finished_task[]
);

-- The outcome of an attempt: the task is pending again from a time on, or has failed for good.
create type underway.failed_task as (
    id       bigint,
    state    underway.task_state,
    ready_at timestamptz
);

-- The settings of the whole schema: one row, which underway.configure changes. They are not parameters of the server,
-- which only a superuser may set for a database. Queries name `only_row`, so that its index serves where sequential scans are
-- disabled.
create table underway.setting (
    only_row        boolean primary key default true,
    max_input_size  bigint not null default 1048576,
    max_output_size bigint not null default 16777216,

    constraint there_is_one_row_of_settings check (only_row)
);

insert into underway.setting default values;

-- Settings are looked up when they are needed, so that changing a queue changes its backlog.
create table underway.queue (
    name              text collate "C" primary key,
    dead_letter_queue text collate "C" references underway.queue (name) on delete set null,
    retry_policy      underway.retry_policy not null,
    timeout           interval not null,
    heartbeat         interval not null,
    retention         interval not null,
    keep_history      boolean not null,
    -- Whether any job has settings for an attempt, a retention, or defaults for new tasks (20_queue/_mark_queues.sql).
    jobs_have_attempts  boolean not null default false,
    jobs_have_retention boolean not null default false,
    jobs_have_defaults  boolean not null default false,
    paused_at         timestamptz,
    created_at        timestamptz not null,
    -- Limits: null is without limit.
    max_running         integer,
    max_running_per_key integer not null default 1,
    rate_limit          integer,
    rate_period         interval,
    rate_limit_per_key  integer,
    max_length          integer,
    fair                boolean not null default false, -- keys take turns
    has_slots           boolean not null default false, -- it has had a max_running: all its running tasks hold slots
    -- A hint: claims look at concurrency keys. An enqueue with a key sets it, maintain clears it.
    has_keys            boolean not null default false
);

-- What is known of a named job: settings of its own, which come before those of a queue; null means no setting. Those
-- of the last group are applied when a task is enqueued, the others are looked up when they are needed.
create table underway.job (
    name              text collate "C" primary key,
    queue             text collate "C" not null references underway.queue (name) on delete cascade,
    owner             text,
    registered_at     timestamptz not null,
    updated_at        timestamptz not null,
    retry_policy      underway.retry_policy,
    timeout           interval,
    heartbeat         interval,
    retention         interval,
    dead_letter_queue text collate "C" references underway.queue (name) on delete set null,
    priority          integer,
    concurrency_key   text collate "C",
    expires           interval
);

create index job_by_queue on underway.job (queue);

create index job_by_dead_letter_queue on underway.job (dead_letter_queue) where dead_letter_queue is not null;

-- The live tasks, and nothing else: the table stays as small as the backlog. Columns are ordered by their
-- alignment; null means the setting of the job or of the queue. No foreign key, no trigger, no counter. Most indexes do without
-- deduplication: their keys are unique but for the versions of one row, so it would only cost time.
create table underway.task (
    id               bigint generated by default as identity (maxvalue 17592186044415) -- a shard's share: set_shard
                     primary key with (deduplicate_items = off),
    ready_at         timestamptz not null,
    enqueued_at      timestamptz not null,
    started_at       timestamptz,
    lease_expires_at timestamptz,
    expires_at       timestamptz, -- cancelled if it is pending or waiting then; null once an attempt has failed
    worker           bigint,
    priority         integer not null,
    attempt          integer not null default 0,
    state            underway.task_state not null default 'pending',
    watched          boolean not null default false,
    parked           boolean not null default false, -- pending, but not in the ready index: claims do not see it
    holds_slot       boolean not null default false, -- in progress in a queue that has slots: counts against max_running
    in_batch         boolean not null default false, -- a batch must be updated when it ends
    lease            uuid,
    queue            text collate "C" not null,
    unique_key       text collate "C",
    unique_until_start boolean, -- true: a claim sets unique_key to null; otherwise null
    concurrency_key  text collate "C",
    job              text,
    input            jsonb not null,
    headers          jsonb,
    progress         jsonb,
    errors           jsonb, -- of its failed attempts: an array of at most twenty, the newest last; null without any
    dead_letter      jsonb,
    retry_policy     underway.retry_policy,
    timeout          interval,
    heartbeat        interval,
    retention        interval,

    -- Without an expiry no session would ever reclaim the task. The only constraint, and a short one: each statement that
    -- writes parses it again and evaluates it (docs/decisions/0022).
    constraint a_task_in_progress_lapses check (state <> 'in_progress' or lease_expires_at is not null)
) with (
    fillfactor = 45, -- a claim writes the new version, which is larger, beside the old one: a fifth less of the log
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

create index task_to_dequeue on underway.task (queue, priority, ready_at, id)
    with (deduplicate_items = off) where state = 'pending' and not parked;

-- The id makes each key unique: a batch shares one lapse time, and long runs of one key are slow to clean.
create index task_to_reclaim on underway.task (lease_expires_at, id) with (deduplicate_items = off)
    where lease_expires_at is not null;

-- Tasks whose first attempt has to begin before a time.
create index task_to_expire on underway.task (expires_at, id) with (deduplicate_items = off)
    where expires_at is not null;

create index task_dead_letter on underway.task (((dead_letter ->> 'task')::bigint)) where dead_letter is not null;

-- What the limits of a queue look at: the running tasks of a queue with max_running (holds_slot), and of each concurrency
-- key the running, the ready and the parked tasks, the last in their order. One index and not three: an enqueue opens each,
-- whether its task enters it or not.
create index task_by_key on underway.task (queue, holds_slot, concurrency_key, parked, state, priority, ready_at, id)
    with (deduplicate_items = off) where concurrency_key is not null or holds_slot;

-- The priorities in use, queue by queue: a claim reads one range of task_to_dequeue for each. (queue, priority) is not
-- unique on purpose: a unique key would make an enqueue wait for another transaction that uses the same new priority.
create table underway.queue_priority (
    queue    text collate "C" not null,
    priority integer not null,
    id       bigint generated always as identity,
    primary key (queue, priority, id)
);

-- How far claims have come: no task of this queue and priority that is ready before `ready_at` is pending, so claims
-- start there, however many dead index entries are in front (28_watermark/_advance_watermark.sql). The row of the highest
-- version counts. Rows are inserted and deleted, never updated: a reader meets no chain of dead versions.
create table underway.watermark (
    queue          text collate "C" not null,
    priority       integer not null,
    version        bigint generated always as identity,
    ready_at       timestamptz not null,
    observed_at    timestamptz not null, -- the watermark may rise to here once the transactions below have ended
    observed_locks text[] not null,      -- virtual ids of the transactions that held a write lock on task then
    primary key (queue, priority, version)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Heartbeats that found their task's row locked by another transaction. A lease lasts until the latest of its task's
-- lease_expires_at and its deferred renewals; _reclaim applies them. Rows are added and deleted, never updated, so that a
-- heartbeat waits for nobody.
create table underway.deferred_renewal (
    task             bigint not null,
    lease            uuid not null,
    lease_expires_at timestamptz not null,
    primary key (task, lease, lease_expires_at)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create index deferred_renewal_to_prune on underway.deferred_renewal (lease_expires_at);

-- Finished tasks until their retention is over. No check constraint: each statement that writes would parse it again, and
-- only _finish inserts. There are 32 partitions by the last day of their retention, which are reused, and one
-- for rows that are kept longer: a day is removed by TRUNCATE, and no partition is ever created, attached or dropped while
-- the queue runs (docs/decisions/0002).
create table underway.task_history (
    id           bigint not null,
    enqueued_at  timestamptz not null,
    started_at   timestamptz,
    finished_at  timestamptz not null,
    kept_until   timestamptz not null,
    expires_at   timestamptz,
    worker       bigint,
    priority     integer not null,
    attempt      integer not null,
    state        underway.task_state not null,
    kept_slot    smallint not null,
    queue        text collate "C" not null,
    unique_key   text collate "C",
    concurrency_key text collate "C",
    job          text,
    reason       text, -- why it was cancelled: expired, or null for a call of cancel and the like
    input        jsonb not null,
    output       jsonb,
    headers      jsonb,
    errors       jsonb,
    dead_letter  jsonb,
    retry_policy underway.retry_policy,
    timeout      interval,
    heartbeat    interval,
    retention          interval
) partition by list (kept_slot);

create index task_history_by_id on underway.task_history (id) with (deduplicate_items = off);

-- For searches: the newest first, of all queues or of some.
create index task_history_unsuccessful on underway.task_history (id, queue) where state <> 'succeeded';

do $$
begin
    for v_slot in 0..31 loop
        execute format(
            'create table underway.%I partition of underway.task_history for values in (%s)',
            'task_history_' || to_char(v_slot, 'FM00'), v_slot
        );
    end loop;
end;
$$;

create table underway.task_history_later partition of underway.task_history for values in (32);

create index task_history_to_prune on underway.task_history_later (kept_until);

-- Logical replication needs an identity for rows that are deleted (retry, delete_task, _prune). The full row costs
-- nothing when a task is inserted; a primary key would have to be looked up for each.
do $$
begin
    for v_slot in 0..31 loop
        execute format('alter table underway.%I replica identity full', 'task_history_' || to_char(v_slot, 'FM00'));
    end loop;
end;
$$;

alter table underway.task_history_later replica identity full;

alter table only underway.task_history replica identity full;

-- The workers that are alive, or were a short while ago. `idle` is a hint for those who enqueue.
create table underway.worker (
    id          bigint generated always as identity (maxvalue 17592186044415) primary key,
    name        text not null,
    queues      text[] not null,
    concurrency integer,
    idle        boolean not null default false,
    started_at  timestamptz not null,
    seen_at     timestamptz not null,
    stop_asked_at timestamptz,
    skipped_jobs text[] not null default '{}', -- jobs that it does not know, or not with the arguments of some task
    version     text, -- of the package or program that the worker runs
    lost_at     timestamptz -- when maintain() noticed that it was not seen any more; before seen_at if it came back
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index worker_to_wake on underway.worker (id) where idle;

-- All that is known of one task.
create type underway.task_info as (
    id               bigint,
    queue            text,
    job              text,
    state            underway.task_state,
    priority         integer,
    attempt          integer,
    max_attempts     integer,
    input            jsonb,
    output           jsonb,
    headers          jsonb,
    progress         jsonb,
    errors           jsonb,
    dead_letter      jsonb,
    enqueued_at      timestamptz,
    ready_at         timestamptz,
    started_at       timestamptz,
    lease_expires_at timestamptz,
    finished_at      timestamptz,
    kept_until       timestamptz, -- when the history may forget it
    worker           text,
    unique_key       text,
    concurrency_key  text,
    expires_at       timestamptz, -- cancelled by then if its first attempt has not begun
    reason           text         -- why it was cancelled: expired
);

-- Cron expressions, and the schedules that enqueue by them.

-- A parsed cron expression. Each field is a row of bits: its first bit stands for its lowest value, and is set
-- when that value matches. `years` is null for every year. `days_by_rule` are the days of a month that no bit can
-- hold: 15W is a nearest weekday (LW is 31W), L the last day, 5#3 the third Friday, 5L the last one. Of @every,
-- `every_seconds` and `anchored_at` alone are set: a time comes every so many seconds before and after the anchor.
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
    repeats        boolean,
    every_seconds  bigint,
    anchored_at    timestamptz
);

-- `next_at` is the next time of the schedule that has no task yet; it is null when no time remains.
-- `anchored_at` is the whole second from which @every counts: the start, or when the expression was set.
-- `check_at` is when run_schedules runs it next: at next_at, or a while after an error; null while it is paused.
create table underway.schedule (
    name          text collate "C" primary key,
    next_at       timestamptz,
    check_at       timestamptz,
    last_at       timestamptz,
    last_task     bigint,
    last_error    jsonb,
    last_error_at timestamptz,
    paused_at     timestamptz,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    starts_at     timestamptz,
    ends_at       timestamptz,
    anchored_at   timestamptz not null,
    queue         text collate "C", -- null: that of the job
    job           text,
    cron          text not null,
    time_zone     text not null,
    catch_up        text not null,
    catch_up_limit  integer not null,
    overlap       text not null,
    jitter        interval not null,
    owner         text,
    priority      integer, -- null: that of the job
    expires       interval,
    input         jsonb not null,
    headers       jsonb,
    retry_policy  underway.retry_policy,
    timeout       interval,
    heartbeat     interval,
    retention           interval,

    constraint missed_times_are_skipped_or_caught_up check (catch_up in ('skip', 'once', 'all')),
    constraint an_overlap_is_allowed_or_skipped check (overlap in ('allow', 'skip')),
    constraint a_schedule_is_looked_at_while_a_time_is_to_come check (
        (check_at is not null) = (next_at is not null and paused_at is null)
    )
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index schedule_to_run on underway.schedule (check_at) where check_at is not null;

-- Unique tasks, concurrency keys, limits.

-- What an enqueue with a unique key gave: the task that has the key, and whether it is a new one or was changed.
create type underway.enqueued_task as (
    id       bigint,
    created  boolean,
    replaced boolean
);

-- At most one live task has a unique key. When two sessions insert the same key at once, this index lets one of them in.
create unique index task_unique on underway.task (queue, unique_key) where unique_key is not null;

-- Keys that are taken for a while, whatever has become of their task (unique_for).
create table underway.unique_reservation (
    queue      text collate "C" not null,
    unique_key text collate "C" not null,
    task       bigint not null,
    expires_at timestamptz not null,
    primary key (queue, unique_key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index unique_reservation_to_prune on underway.unique_reservation (expires_at);

-- The length of a queue with a max_length when its tasks were counted. The length is at most this plus the ids given out
-- since, from `next_id` on. Like watermarks, rows are added and deleted and never updated.
create table underway.queue_length (
    queue   text collate "C" not null,
    length  bigint not null,
    next_id bigint not null,
    id      bigint generated always as identity primary key
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index queue_length_by_queue on underway.queue_length (queue, next_id);

-- The time of the next token of a key whose tasks are parked for lack of tokens. Claims write it, and the queue's
-- claim lock lets only one claim do so at a time.
create table underway.ready_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    check_at        timestamptz not null,
    primary key (queue, concurrency_key)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create index ready_key_to_check on underway.ready_key (check_at);

-- Keys of which nothing is claimed for now.
create table underway.paused_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    paused_at       timestamptz not null,
    primary key (queue, concurrency_key)
);

-- The tokens of a rate limit, of a queue or of one of its keys, as they were at a time. The row of the highest version
-- counts; like watermarks, rows are inserted and deleted, never updated.
create table underway.token_bucket (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null default '', -- empty: the queue's own
    version         bigint generated always as identity,
    tokens          double precision not null,
    refilled_at     timestamptz not null,
    primary key (queue, concurrency_key, version)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index token_bucket_to_prune on underway.token_bucket (refilled_at) where concurrency_key <> '';

-- A ready task as a claim within limits sees it.
create type underway.claim_candidate as (
    ctid     tid,
    key      text,
    ready_at timestamptz,
    id       bigint
);

-- What maintain() remembers between two calls: one row, or a few where sessions began at the same moment after a crash. Not
-- logged: it is written every second, and a new one will do after a crash. It has no identity column: in some releases of 15
-- to 18 (17.10 and 18.4, not 18.6) the sequence of an unlogged table is unreadable on a standby that was promoted.
create unlogged table underway.upkeep (
    last_run_at timestamptz not null, -- the chores run once a second for all callers together
    expired_until timestamptz not null default '-infinity', -- tasks that expired earlier were cancelled
    queue       text collate "C" not null default '', -- up to here the keys of parked tasks were checked
    key         text collate "C" not null default ''
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- One reason why a task does not run, or that it does: a code, a sentence, and the numbers in it.
create type underway.reason as (
    code    text,
    reason  text,
    details jsonb
);

-- Batches: groups of tasks, and the tasks that wait for an event of a batch.

-- An implicit batch stands for the tasks that one task comes after (`after`). No function returns it, and it is deleted
-- when no task waits for it any more.
create table underway.batch (
    id           bigint generated by default as identity (maxvalue 17592186044415) primary key,
    created_at   timestamptz not null,
    failed_at    timestamptz, -- the first time that one of its tasks did not succeed
    final_at     timestamptz, -- the first time that all of them were final
    succeeded_at timestamptz,
    expires_at   timestamptz,
    retention          interval not null,
    tasks        integer not null default 0,
    implicit     boolean not null,
    name         text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create index batch_to_prune on underway.batch (expires_at) where expires_at is not null;

-- The tasks of batches that have not succeeded: with an outcome they have failed or were cancelled, without one they are
-- live. There is no counter, because each settlement would lock it until its transaction ends (_evaluate_batches).
create table underway.batch_task (
    task    bigint not null,
    batch   bigint not null,
    outcome underway.task_state,
    primary key (task, batch)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create index batch_task_live on underway.batch_task (batch, task) where outcome is null;

create index batch_task_unsuccessful on underway.batch_task (batch, task) where outcome is not null;

-- Tasks that wait for an event of a batch, or have waited for one. The row stays as long as the batch: it names the
-- callbacks of the batch. It holds a task back only while that is `waiting`.
create table underway.dependent (
    task             bigint not null primary key,
    batch            bigint not null,
    event            text not null,
    fails_with_batch boolean not null default false, -- when a task of the batch does not succeed

    constraint a_dependent_waits_for_an_event_of_a_batch check (event in ('success', 'final', 'failure'))
);

create index dependent_to_evaluate on underway.dependent (batch, event);

-- The tasks that one evaluation of a batch has locked and that are to end for it.
create type underway.dependents_to_end as (
    to_cancel bigint[],
    to_fail   bigint[]
);

-- Batches that maintain() has to evaluate again, because the last evaluation did not see everything. A batch may be here
-- several times: a unique key would make one settlement wait for another.
create table underway.batch_to_reevaluate (
    id    bigint generated always as identity primary key,
    batch bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

alter table underway.batch_to_reevaluate replica identity full;

-- Statistics: what was enqueued, started and finished, by minute, hour and day, and since the installation. Days are those
-- of UTC.

create type underway.stat_step as enum ('minute', 'hour', 'day', 'total');

-- Tasks that have ended and attempts that have failed and are tried again, as the transaction inserted them in which that
-- happened: one row for those of a queue and job that were claimed together. maintain() deletes the rows and adds them up in
-- task_stat. Only a settlement of many tasks is large; compressing it would cost it more than all the counting.
create table underway.uncounted (
    id         bigint generated always as identity primary key with (deduplicate_items = off),
    at         timestamptz not null,
    started_at timestamptz, -- null if no attempt was under way
    tasks      integer not null,
    outcome    text not null, -- a final state, expired or retried
    queue      text collate "C" not null,
    job        text,
    ready_at   timestamptz[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

alter table underway.uncounted alter column ready_at set storage external;

-- What happened to tasks of one queue and job with the same outcome, on its way into task_stat. The attempts began in one
-- minute, and their run times and waiting times are in one bucket each; null where none was under way.
create type underway.stat_count as (
    at           timestamptz,
    outcome      text,
    queue        text,
    job          text,
    started_at   timestamptz,
    tasks        bigint,
    run_seconds  double precision,
    wait_seconds double precision,
    run_bucket   smallint,
    wait_bucket  smallint
);

-- The sums. A histogram has a count for each bucket, without the empty buckets at its end. The row of `total` has the time
-- -infinity.
create table underway.task_stat (
    at             timestamptz not null,
    enqueued       bigint not null default 0,
    started        bigint not null default 0,
    succeeded      bigint not null default 0,
    failed         bigint not null default 0,
    retried        bigint not null default 0,
    cancelled      bigint not null default 0,
    expired        bigint not null default 0,
    run_seconds    double precision not null default 0,
    wait_seconds   double precision not null default 0,
    step           underway.stat_step not null,
    queue          text collate "C" not null,
    job            text collate "C" not null, -- empty for none
    run_histogram  bigint[] not null default '{}',
    wait_histogram bigint[] not null default '{}',
    primary key (queue, job, step, at)
) with (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- The queues and jobs of which there are sums.
create index task_stat_total on underway.task_stat (queue, job) where step = 'total';

-- How far the counting has come: one row. Task ids up to counted_task have been counted as enqueued, and all rows of
-- `uncounted` up to counted_end have been added up. The positions may rise to the observed ones once the transactions
-- that held a write lock on `task` then have ended, as with watermarks.
create table underway.stat_position (
    only_row       boolean primary key default true,
    counted_task   bigint not null default 0,
    counted_end    bigint not null default 0,
    observed_task  bigint not null default 0,
    observed_end   bigint not null default 0,
    observed_locks text[] not null default '{}',

    constraint there_is_one_row_of_positions check (only_row)
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

insert into underway.stat_position default values;

-- How many tasks each queue had, once a minute. A queue without live tasks has no row.
create table underway.queue_depth (
    at                   timestamptz not null,
    ready                bigint not null,
    scheduled            bigint not null,
    in_progress          bigint not null,
    waiting              bigint not null,
    oldest_ready_seconds double precision,
    queue                text collate "C" not null,
    primary key (at, queue)
) with (autovacuum_vacuum_cost_delay = 0);

-- How many live tasks a queue has.
create type underway.queue_count as (
    queue            text,
    ready            bigint,
    scheduled        bigint,
    in_progress      bigint,
    waiting          bigint,
    parked           bigint, -- due, but their key was full at the last claim
    expired          bigint,
    dead_letters     bigint,
    oldest_ready_at  timestamptz,
    oldest_parked_at timestamptz,
    capped           boolean, -- one of the numbers may be higher
    counted_at       timestamptz
);

-- The last count of all queues, while the live table is so large that maintain() counts for all readers: one row, without
-- queues that have no tasks. Rows are inserted and deleted, never updated: a reader begins at the newest.
create table underway.last_count (
    counted_at  timestamptz primary key,
    next_at     timestamptz not null, -- maintain() counts again
    valid_until timestamptz not null, -- later readers count themselves
    counts      underway.queue_count[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- What happened to tasks in a step of time, in a queue, of a job, or each of these.
create type underway.task_stats as (
    at        timestamptz,
    queue     text,
    job       text,
    enqueued  bigint,
    started   bigint,
    succeeded bigint,
    failed    bigint,
    retried   bigint,
    cancelled bigint,
    expired   bigint,
    run_p50   double precision, -- seconds; null without data
    run_p95   double precision,
    run_p99   double precision,
    wait_p50  double precision,
    wait_p95  double precision,
    wait_p99  double precision
);

create type underway.stats_of_time as (
    at        timestamptz,
    enqueued  bigint,
    started   bigint,
    succeeded bigint,
    failed    bigint,
    retried   bigint,
    cancelled bigint,
    expired   bigint,
    run_p50   double precision, -- seconds; null without data
    run_p95   double precision,
    run_p99   double precision,
    wait_p50  double precision,
    wait_p95  double precision,
    wait_p99  double precision
);

create type underway.stats_of_queue as (
    queue     text,
    enqueued  bigint,
    started   bigint,
    succeeded bigint,
    failed    bigint,
    retried   bigint,
    cancelled bigint,
    expired   bigint,
    run_p50   double precision, -- seconds; null without data
    run_p95   double precision,
    run_p99   double precision,
    wait_p50  double precision,
    wait_p95  double precision,
    wait_p99  double precision
);

create type underway.stats_of_job as (
    job       text,
    queue     text,
    enqueued  bigint,
    started   bigint,
    succeeded bigint,
    failed    bigint,
    retried   bigint,
    cancelled bigint,
    expired   bigint,
    run_p50   double precision, -- seconds; null without data
    run_p95   double precision,
    run_p99   double precision,
    wait_p50  double precision,
    wait_p95  double precision,
    wait_p99  double precision
);

create type underway.queue_depth_row as (
    at                   timestamptz,
    ready                bigint,
    scheduled            bigint,
    in_progress          bigint,
    waiting              bigint,
    oldest_ready_seconds double precision
);

-- What a search asks for, as underway._read_filter reads it; null is any.
create type underway.task_filter as (
    states          text[],
    queues          text[],
    jobs            text[],
    key             text,
    enqueued_after  timestamptz,
    enqueued_before timestamptz,
    finished_after  timestamptz,
    finished_before timestamptz,
    error           text,
    input           jsonpath,
    worker          bigint,
    dead_letter     boolean,
    ids             bigint[]
);

create type underway.related_task as (
    task     bigint,
    relation text,
    batch    bigint,
    state    underway.task_state,
    job      text
);

-- What has happened that somebody should know, for seven days: events, and the actions of people.

create table underway.event (
    id      bigint generated always as identity (maxvalue 17592186044415) primary key with (deduplicate_items = off),
    at      timestamptz not null,
    task    bigint,
    kind    text not null,
    queue   text,
    job     text,
    details jsonb not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Queues of which an event says that they are blocked, until another event says that they are not.
create table underway.blocked_queue (
    queue      text collate "C" primary key,
    blocked_at timestamptz not null
);

create type underway.failure_group as (
    queue              text,
    job                text,
    error_type         text,
    message            text,
    failures           bigint,
    failed_permanently bigint,
    tasks              bigint,
    first_at           timestamptz,
    last_at            timestamptz,
    last_task          bigint
);

create table underway.audit (
    id      bigint generated always as identity primary key,
    at      timestamptz not null,
    actor   text not null,
    role    text not null,
    source  text not null,
    action  text not null,
    details jsonb not null
);

-- Moving tasks to another database of the application, which is named by its shard number (docs/decisions/0033).

-- The batch of tasks that is on its way to a shard: they are live and in no table `task`. There is one at most, so that
-- batches arrive in order.
create table underway.outgoing_move (
    shard    integer primary key,
    previous uuid, -- the last batch that has arrived
    batch    uuid, -- null: none is on its way
    begun_at timestamptz,
    tasks    jsonb
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Compressing a batch would cost more than all else that a move does at the source.
alter table underway.outgoing_move alter column tasks set storage external;

-- The last batch that has arrived from a shard, and the ids of its tasks that were not accepted.
create table underway.incoming_move (
    shard   integer primary key,
    batch   uuid,
    refused bigint[] not null default '{}'
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Where a task has gone, for 90 days.
create table underway.moved_task (
    id          bigint primary key,
    shard       integer not null,
    moved_at    timestamptz not null,
    enqueued_at timestamptz not null,
    queue       text collate "C" not null,
    job         text
);

create index moved_task_to_prune on underway.moved_task (moved_at);

-- The live tasks of a queue or a concurrency key, as a move sees them.
create type underway.move_status as (
    on_the_way    integer,
    movable       bigint,
    running       bigint,
    dependent     bigint,
    running_tasks   bigint[], -- at most twenty
    dependent_tasks bigint[],
    last_task     bigint
);

create type underway.move_batch as (
    id        uuid, -- null: no task in this stretch of ids
    previous  uuid,
    tasks     jsonb,
    last_task bigint -- null: no further tasks
);
