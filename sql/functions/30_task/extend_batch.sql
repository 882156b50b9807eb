-- extend_batch: more tasks of a batch that is not final; a task of the batch may thus split its work.
--
--   -> pending
--
-- Writes: nothing.
-- Refuses: UW001 invalid_argument, UW003 queue_not_found, UW007 input_too_large, UW010 unique_conflict, UW011 queue_full, UW012 batch_not_found, UW013 batch_final.

create or replace function underway.extend_batch(batch bigint, tasks jsonb)
returns bigint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_final_at timestamptz;
    v_ids      bigint[];
begin
    -- Whoever settles a task meanwhile leaves the batch to maintain.
    select b.final_at
    into v_final_at
    from underway.batch b
    where b.id = extend_batch.batch
      and b.listed
    for no key update;

    if not found then
        perform underway._batch_not_found(extend_batch.batch);
    end if;
    if v_final_at is not null then
        raise exception using
            errcode = 'UW013',
            message = format('all tasks of batch %s are final since %s', extend_batch.batch, v_final_at),
            hint = 'Extend a batch before its last task ends, as in that task itself; or enqueue another batch.';
    end if;

    v_ids := underway.enqueue_many(extend_batch.tasks);
    perform underway._join_batch(extend_batch.batch, array(
        select given.id
        from unnest(v_ids) as given (id)
        -- The limit keeps this a look-up for each task, whatever the statistics say.
        where (
            select true
            from underway.batch_task m
            where m.task = given.id
              and m.batch = extend_batch.batch
            limit 1
        ) is null
        group by given.id
    ));

    return v_ids;
end;
$$;

comment on function underway.extend_batch(bigint, jsonb) is
    'Enqueue more tasks of a batch, as enqueue_many does. Refused when all its tasks are final. Returns their ids in order.';
