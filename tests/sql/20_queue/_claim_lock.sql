begin;
select plan(9);

select is(
    underway._claim_lock('email'), underway._claim_lock('email'), 'the claim lock of a queue has always the same key'
);
select isnt(underway._claim_lock('email'), underway._claim_lock('sms'), 'two queues have two claim locks');
select isnt(underway._watermark_lock('email'), underway._watermark_lock('sms'), 'two queues have two watermark locks');
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
        select unnest(array[underway._claim_lock('email'), underway._watermark_lock('email')])
    $$,
    'the locks of concurrency keys are neither the claim lock nor the watermark lock of their queue'
);

-- a claim from a queue with limits holds the claim lock alone, one from a queue without limits shares it

select underway_test.ready_task('plain');
select underway.dequeue('plain');
select underway_test.ready_task('limited');
select underway.create_queue('limited', rate_limit => 5);
select underway.dequeue('limited');

select results_eq(
    $$
        select name collate "default", l.mode
        from unnest('{limited,plain}'::text[]) as name
        join pg_locks l
            on l.classid::bigint = (underway._claim_lock(name) >> 32) & 4294967295
           and l.objid::bigint = underway._claim_lock(name) & 4294967295
        where l.locktype = 'advisory'
          and l.pid = pg_backend_pid()
        order by name
    $$,
    $$ values ('limited', 'ExclusiveLock'), ('plain', 'ShareLock') $$,
    'a claim within limits holds the claim lock alone, and a claim without limits shares it'
);

select * from finish();
rollback;
