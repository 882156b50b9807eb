begin;
select plan(10);

select is(
    underway._claim_lock('email'), underway._claim_lock('email'), 'the claim lock of a queue has always the same key'
);
select isnt(underway._claim_lock('email'), underway._claim_lock('sms'), 'two queues have two claim locks');
select isnt(underway._watermark_lock('email'), underway._watermark_lock('sms'), 'two queues have two watermark locks');
select isnt(underway._claim_lock('email'), underway._limit_lock('email'), 'the claim lock is not the limit lock of a queue');
select isnt(underway._claim_lock('email'), underway._watermark_lock('email'), 'the claim lock is not the watermark lock of a queue');

select is(
    underway._key_lock('email', 'a'), underway._key_lock('email', 'a'), 'the lock of a concurrency key has always the same key'
);
select is(
    (select count(distinct underway._key_lock('email', number::text)) from generate_series(1, 10000) number), 64::bigint,
    'the concurrency keys of a queue share 64 locks'
);
select is_empty(
    $$
        select underway._key_lock('email', number::text) from generate_series(1, 1000) number
        intersect
        select underway._key_lock('sms', number::text) from generate_series(1, 1000) number
    $$,
    'the concurrency keys of two queues share no lock'
);
select is_empty(
    $$
        select underway._key_lock('email', number::text) from generate_series(1, 1000) number
        intersect
        select unnest(array[underway._claim_lock('email'), underway._limit_lock('email'), underway._watermark_lock('email')])
    $$,
    'the locks of concurrency keys are no other lock of their queue'
);

-- claims share the claim lock; one within limits holds the limit lock besides

select underway_test.ready_task('plain');
select underway.dequeue('plain');
select underway_test.ready_task('limited');
select underway.create_queue('limited', rate_limit => 5);
select underway.dequeue('limited');

select results_eq(
    $$
        select queue.name collate "default", lock.name, l.mode
        from unnest('{limited,plain}'::text[]) as queue (name)
        cross join lateral (
            values ('claim', underway._claim_lock(queue.name)), ('limit', underway._limit_lock(queue.name))
        ) as lock (name, key)
        join pg_locks l
            on l.classid::bigint = (lock.key >> 32) & 4294967295
           and l.objid::bigint = lock.key & 4294967295
        where l.locktype = 'advisory'
          and l.pid = pg_backend_pid()
          and not (l.mode = 'ExclusiveLock' and lock.name = 'claim')
        order by 1, 2
    $$,
    $$ values ('limited', 'claim', 'ShareLock'), ('limited', 'limit', 'ExclusiveLock'), ('plain', 'claim', 'ShareLock') $$,
    'claims share the claim lock, and a claim within limits holds the limit lock besides'
);

select * from finish();
rollback;
