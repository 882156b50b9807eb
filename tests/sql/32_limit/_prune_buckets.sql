begin;
select plan(4);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit => 2, rate_limit_per_key => 1, rate_period => '1 minute');
select underway_test.keyed_tasks('a1 b1');
select is(underway_test.claimed(), 'a1 b1', 'the queue and each key have a bucket');
select is(underway._prune_buckets(), 0, 'one that is not full is kept');
select underway_test.advance_clock('61 seconds');
select is(underway._prune_buckets(1), 1, 'those of keys that are full are forgotten, at most so many at a time');
select underway._run_chores();
select results_eq(
    'select concurrency_key collate "default" from underway.token_bucket', $$ values ('') $$, 'the bucket of the queue stays'
);

select * from finish();
rollback;
