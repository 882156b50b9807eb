-- _prune_buckets: forget the buckets of keys that have had time to fill: what is not there is full.
--
-- Writes: token_bucket.
-- Calls: _clock.

create or replace function underway._prune_buckets(max_buckets integer default 1000)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now    timestamptz := underway._clock();
    v_pruned integer;
begin
    delete from underway.token_bucket b
    where b.ctid = any (array(
        select filled.ctid
        from underway.token_bucket filled
        where filled.concurrency_key <> ''
          and filled.refilled_at < v_now - coalesce(
              (select q.rate_period from underway.queue q where q.name = filled.queue), '0'
          )
        order by filled.refilled_at
        limit _prune_buckets.max_buckets
        for update skip locked
    ));
    get diagnostics v_pruned = row_count;

    return v_pruned;
end;
$$;

comment on function underway._prune_buckets(integer) is
    'Delete at most max_buckets of the keys'' buckets that are full again. Returns how many.';
