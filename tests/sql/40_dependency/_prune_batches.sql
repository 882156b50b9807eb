begin;
select plan(16);

select underway_test.stop_clock('2030-01-01 12:00:00Z');
select underway.create_queue('email');
create temporary table batch as select
    underway.enqueue_batch('[]', '{"queue": "email"}', retention => '1 hour') as empty,
    underway.enqueue_batch('[{"queue": "email"}]', '{"queue": "email"}', retention => '1 hour') as failed,
    underway.enqueue_batch('[{"queue": "email"}]', retention => '1 hour') as retried,
    underway.enqueue_batch('[{"queue": "email"}]', retention => '1 hour') as live,
    underway.enqueue_batch('[]', retention => '2 hours') as later;
select underway.cancel_batch(failed), underway.cancel_batch(retried) from batch;
create temporary table task as
select m.task as retried from underway.batch_task m, batch where m.batch = batch.retried;

create function pg_temp.batches() returns text language sql as $$
    select string_agg(s.key, ' ' order by s.key)
    from batch, jsonb_each_text(to_jsonb(batch)) s
    where exists (select from underway.batch b where b.id = s.value::bigint)
$$;

select underway._prune_batches();
select is(pg_temp.batches(), 'empty failed later live retried', 'batches are kept until their retention is over');

select underway_test.advance_clock('59 minutes');
select underway.retry(retried) from task;
select underway_test.advance_clock('1 minute');
select underway._prune_batches();

select is(
    pg_temp.batches(), 'empty failed later live retried', 'a batch whose callback is live is kept beyond its retention'
);
select is(
    (select b.expires_at from underway.batch b, batch where b.id = batch.empty), '2030-01-02 13:00:00Z',
    'such a batch is kept for another day'
);
select underway.cancel(s.on_success) from batch join underway.batch_stats s on s.batch = batch.empty;
update underway.batch b set expires_at = underway._clock() from batch where b.id = batch.empty;
select underway._prune_batches();

select is(pg_temp.batches(), 'failed later live retried', 'a batch is deleted when its retention is over and its callbacks have ended');
select is_empty('select from underway.dependent f, batch where f.batch = batch.empty', 'the rows of its callbacks are deleted with a batch');
select is(
    (select b.expires_at from underway.batch b, batch where b.id = batch.failed), '2030-01-02 13:00:00Z',
    'a batch that a task waits for is kept for another day'
);
select is(
    (select b.expires_at from underway.batch b, batch where b.id = batch.retried), '2030-01-02 13:00:00Z',
    'a batch with a retried live task is kept for another day'
);
select is(
    (select b.expires_at from underway.batch b, batch where b.id = batch.live), null, 'a batch that is not final does not expire'
);

-- it ends after all

select underway.cancel(t.id) from underway.task t where t.state = 'waiting';
select underway.cancel(retried) from task;
select underway_test.advance_clock('1 day');
select underway._prune_batches(1);
select is((select count(*) from underway.batch), 3::bigint, 'no more batches are deleted than requested');
select underway._prune_batches();
select is(pg_temp.batches(), 'live', 'batches are deleted when no task waits for them any more');
select results_eq(
    'select distinct m.batch from underway.batch_task m', 'select live from batch', 'the rows of its tasks are deleted with a batch'
);

-- batches that nobody has asked for

create temporary table after as
select underway.enqueue('email', after => array[t.id]) as id, t.id as first from underway.task t where t.in_batch;
create temporary table ended as select h.id, h.lease from underway.dequeue('email', 10) h;
select underway.complete(id, lease) from ended;
select underway._prune_batches();
select is(pg_temp.batches(), 'live', 'implicit batches are deleted when they are final');
select is((select count(*) from underway.batch), 1::bigint, 'no row of an implicit batch is kept');

-- through maintain

select underway_test.advance_clock('1 hour');
select lives_ok('select underway._run_chores()', 'maintain deletes expired batches');
select is(pg_temp.batches(), null, 'maintain deletes all batches whose retention is over');
select is_empty('select from underway.dependent union all select from underway.batch_task', 'maintain deletes the rows of their tasks and callbacks');

select * from finish();
rollback;
