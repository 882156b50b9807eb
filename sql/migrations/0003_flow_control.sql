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

-- What is counted by a limit. The id makes each entry unique.
create index task_limited on underway.task (queue, concurrency_key, id) where state = 'in_progress' and limited;

-- Tasks that wait for their key, out of the way of all claims of others.
create index task_parked on underway.task (queue, concurrency_key, priority, ready_at, id) where parked;

-- Keys that have become free since somebody last looked, once for each time: added by whoever frees one, deleted by the
-- claim that has looked at what is parked behind it. So none is ever waited for.
create table underway.freed_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

create index freed_key_of_queue on underway.freed_key (queue, concurrency_key);

-- Keys of which nothing is claimed for now.
create table underway.paused_key (
    queue           text collate "C" not null,
    concurrency_key text collate "C" not null,
    paused_at       timestamptz not null,
    primary key (queue, concurrency_key)
);

-- The tokens of a rate limit, as they were at a time. The row that was noted last counts; like floors, rows are added and
-- deleted and never updated.
create table underway.bucket (
    queue     text collate "C" not null,
    tokens    double precision not null,
    filled_at timestamptz not null,
    noted_by  bigint generated always as identity
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create index bucket_of_queue on underway.bucket (queue, noted_by);

-- Waiting tasks, to be counted where a queue has a limit (_check_length).
create index task_waiting on underway.task (queue, id) where state = 'waiting';

-- Signatures that are retired.
drop function if exists underway.enqueue(
    text, jsonb, text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
);
drop function if exists underway.enqueue_many(
    text, jsonb[], text, interval, timestamptz, integer, underway.retry_policy, interval, interval, interval, jsonb
);
