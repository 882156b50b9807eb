-- _prune_batches: forget batches that have been final for their time to live; not while a task waits for one, as for the
-- retry of a task that has failed, nor while a task of it that was retried is live.
--
-- Writes: batch, batch_task, dependent.

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

    -- The limits keep these look-ups for each batch, whatever the statistics say.
    v_needed := array(
        select given.batch
        from unnest(v_expired) as given (batch)
        where (
            select true from underway.batch_task m where m.batch = given.batch and m.outcome is null limit 1
        )
           or (
            select true
            from underway.task t
            where t.id = any (array(select f.task from underway.dependent f where f.batch = given.batch))
              and t.state = 'waiting'
            limit 1
        )
    );
    update underway.batch b set expires_at = v_now + interval '1 day' where b.id = any (v_needed);

    v_expired := array(select unnest(v_expired) except select unnest(v_needed));
    delete from underway.dependent f where f.batch = any (v_expired);
    delete from underway.batch_task m
    where m.ctid = any (array(
        select past.ctid
        from underway.batch_task past
        where past.batch = any (v_expired)
          and past.outcome is not null
        for update skip locked
    ));

    -- A task that is just being retried keeps its batch until the next call.
    delete from underway.batch b
    where b.id = any (v_expired)
      and (
          select true from underway.batch_task m where m.batch = b.id and m.outcome is not null limit 1
      ) is null;
end;
$$;

comment on function underway._prune_batches(integer) is
    'Forget at most max_batches batches whose time is over and that no task waits for.';
