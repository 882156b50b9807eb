begin;
select plan(4);

select underway_test.stop_clock();
select underway.create_queue('email', rate_limit => 2, rate_limit_per_key => 1, rate_period => '1 minute');
select underway_test.keyed_tasks('a1 b1');
select is(underway_test.claimed(), 'a1 b1', 'a claim takes tokens of the queue and of each key');
select is(underway._prune_buckets(), 0, 'a bucket that is not full is kept');
select underway_test.advance_clock('61 seconds');
select is(underway._prune_buckets(1), 1, 'at most max_buckets full buckets of keys are deleted');
select underway._run_chores();
select results_eq(
    'select concurrency_key collate "default" from underway.token_bucket', $$ values ('') $$, 'the bucket of the queue is kept'
);

select * from finish();
rollback;
