-- Unique tasks, concurrency keys, limits.

-- What an enqueue with a unique key gave: the task that has the key, and whether it is a new one or was changed.
create type underway.enqueued_task as (
    id       bigint,
    created  boolean,
    replaced boolean
);

-- At most one live task has a key: this index decides, whoever is first.
create unique index task_unique on underway.task (queue, unique_key) where unique_key is not null;

-- Keys that are taken for a while, whatever has become of their task (unique_for).
create table underway.unique_hold (
    queue      text collate "C" not null,
    unique_key text collate "C" not null,
    task       bigint not null,
    expires_at timestamptz not null,
    primary key (queue, unique_key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index unique_hold_to_prune on underway.unique_hold (expires_at);

-- The queues that have ever had a task with a concurrency key. Not unique on purpose: two who are the first do not wait
-- for each other.
create table underway.keyed_queue (
    queue text collate "C" not null
);

create index keyed_queue_by_queue on underway.keyed_queue (queue);

-- What runs and is counted by a limit, and what waits for its key: tables and not indexes of the live tasks, for each of
-- those is paid by all tasks (docs/decisions/0017).
create table underway.running (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null, -- empty for a task that has none
    task            bigint not null
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create unique index running_of_key on underway.running (queue, concurrency_key, task);

create table underway.parked (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    priority        integer not null,
    ready_at        timestamptz not null,
    task            bigint not null primary key
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create unique index parked_of_key on underway.parked (queue, concurrency_key, priority, ready_at, task);

-- Keys that have become free since somebody last looked, once for each time: added by whoever frees one, deleted by the
-- claim that has looked at what is parked behind it. So none is ever waited for.
create table underway.freed_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    look_at         timestamptz not null default '-infinity' -- not before: when a token comes
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create index freed_key_of_queue on underway.freed_key (queue, look_at, concurrency_key);

-- Keys of which nothing is claimed for now.
create table underway.paused_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    paused_at       timestamptz not null,
    primary key (queue, concurrency_key)
);

-- The tokens of a rate limit, of a queue or of one of its keys, as they were at a time. The row that was noted last counts; like floors, rows are added and
-- deleted and never updated.
create table underway.bucket (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null default '', -- empty for the queue's own
    tokens          double precision not null,
    filled_at       timestamptz not null,
    noted_by        bigint generated always as identity
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index bucket_of_key on underway.bucket (queue, concurrency_key, noted_by);

create index bucket_to_prune on underway.bucket (filled_at) where concurrency_key <> '';

-- A task as a claim has seen it in its lane.
create type underway.seen_task as (
    place    tid,
    key      text,
    ready_at timestamptz,
    id       bigint
);

-- One reason why a task does not run, or that it does: a code, a sentence, and the numbers in it.
create type underway.reason as (
    code    text,
    reason  text,
    details jsonb
);

-- Signatures that are retired.
drop function if exists underway.enqueue(
    text, jsonb, text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
);
drop function if exists underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
);
drop function if exists underway.create_queue(text, text, underway.retry_policy, interval, interval, interval, boolean);
