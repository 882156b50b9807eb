-- _prune_batches: delete batches that have been final for their retention.
--
-- A batch stays while a task waits for it (perhaps for the retry of a failed task), while a callback of it is live, and
-- while a retried task of it is live.
--
-- Writes: batch, batch_task, dependent.
-- Calls: _clock.

create or replace function underway._prune_batches(max_batches integer default 1000)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now     timestamptz := underway._clock();
    v_expired bigint[] := array(
        select b.id
        from underway.batch b
        where b.expires_at <= v_now
        order by b.expires_at
        limit _prune_batches.max_batches
        for update skip locked
    );
    v_needed  bigint[];
begin
    if v_expired = '{}' then
        return;
    end if;

    -- The limits keep these look-ups for each batch under a generic plan.
    v_needed := array(
        select b.id
        from underway.batch b
        where b.id = any (v_expired)
          and (
              (select true from underway.batch_task m where m.batch = b.id and m.outcome is null limit 1)
              or (
                  select true
                  from underway.task t
                  where t.id = any (array(select d.task from underway.dependent d where d.batch = b.id))
                    and (t.state = 'waiting' or not b.implicit)
                  limit 1
              )
          )
    );
    update underway.batch b set expires_at = v_now + interval '1 day' where b.id = any (v_needed);

    v_expired := array(select unnest(v_expired) except select unnest(v_needed));
    delete from underway.dependent d where d.batch = any (v_expired);
    delete from underway.batch_task m
    where m.ctid = any (array(
        select past.ctid
        from underway.batch_task past
        where past.batch = any (v_expired)
          and past.outcome is not null
        for update skip locked
    ));

    -- The row of a task that is being retried is locked and stays, and so does its batch, until the next call.
    delete from underway.batch b
    where b.id = any (v_expired)
      and (
          select true from underway.batch_task m where m.batch = b.id and m.outcome is not null limit 1
      ) is null;
end;
$$;

comment on function underway._prune_batches(integer) is
    'Delete at most max_batches batches whose retention is over, and that no live task waits for or calls back.';
