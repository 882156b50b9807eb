-- _prune_batches: forget batches that have been final for their time to live; not while a task waits for one, as for the
-- retry of a task that has failed.
--
-- Writes: batch, batch_task, follower.

create or replace function underway._prune_batches(max_batches integer default 1000)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
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

    v_needed := array(
        select distinct f.batch
        from underway.follower f
        join underway.task t on t.id = f.task
        where f.batch = any (v_expired)
          and t.state = 'waiting'
    );
    update underway.batch b set expires_at = v_now + interval '1 day' where b.id = any (v_needed);

    v_expired := array(select unnest(v_expired) except select unnest(v_needed));
    delete from underway.follower f where f.batch = any (v_expired);
    delete from underway.batch_task m where m.batch = any (v_expired) and m.outcome is not null;
    delete from underway.batch b where b.id = any (v_expired);
end;
$$;

comment on function underway._prune_batches(integer) is
    'Forget at most max_batches batches whose time is over and that no task waits for.';
