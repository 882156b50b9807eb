-- _mark_queues: from now on claims, finishes and enqueues look up the jobs of tasks, as far as any job has settings for them.
--
-- Problem: to look at the table of jobs costs a claim of one task 2% more, and most queues have no use for it.
-- Idea: the row of the queue, which is read anyway, says whether any job has settings of a kind. It says so in all queues,
-- because a task of any job may be in any queue.
-- Invariant: once a job and a queue are committed, the queue is marked; where two transactions that did not see each other
-- have registered the first job and created the queue, by the next maintain().
--
-- A mark is not taken away again: it only costs look-ups.
--
-- Writes: queue.
-- Calls: nothing.

create or replace function underway._mark_queues()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    update underway.queue q
    set
        jobs_have_attempts = q.jobs_have_attempts or found.attempts,
        jobs_have_retention = q.jobs_have_retention or found.retention,
        jobs_have_defaults = q.jobs_have_defaults or found.defaults
    from (
        select
            bool_or(num_nonnulls(j.timeout, j.heartbeat, (j.retry_policy).max_attempts) > 0) as attempts,
            bool_or(j.retention is not null) as retention,
            bool_or(num_nonnulls(j.priority, j.concurrency_key, j.expires) > 0) as defaults
        from underway.job j
    ) found
    where (found.attempts and not q.jobs_have_attempts)
       or (found.retention and not q.jobs_have_retention)
       or (found.defaults and not q.jobs_have_defaults);
end;
$$;

comment on function underway._mark_queues() is
    'Record in all queues which kinds of settings any job has, so that these are looked up.';
