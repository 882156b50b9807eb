begin;
select plan(8);

create temporary table health on commit drop as select underway.database_health() as h;

select set_eq(
    'select jsonb_object_keys(h) from health',
    $$ select unnest('{tables,oldest_snapshot,prepared_transactions,replication_slots,notification_queue_usage,wal_bytes_per_second,
        database_bytes,missing_indexes,invalid_indexes,autovacuum,connections,clock_ahead_seconds,server_version,settings}'::text[]) $$,
    'the object has all its keys'
);
select ok(h -> 'tables' @> '[{"name": "task"}, {"name": "task_history"}]', 'tables are listed') from health;
select is(
    (select count(*) from health, jsonb_array_elements(h -> 'tables') t where t ->> 'name' like 'task_history%'), 1::bigint,
    'the partitions of the history are one table'
);
select is(h -> 'missing_indexes', '[]', 'no index is missing') from health;
select is(h -> 'invalid_indexes', '[]', 'no index is invalid') from health;
select cmp_ok((h #>> '{connections,used}')::integer, '>=', 1, 'the connections are counted') from health;

drop index underway.task_to_reclaim;
select is(underway.database_health() -> 'missing_indexes', '["task_to_reclaim"]', 'an index that was dropped is missing');

select underway_test.stop_clock();
insert into underway.upkeep (last_run_at) values (underway._clock() + interval '1 hour');
select is(underway.database_health() -> 'clock_ahead_seconds', '3600', 'a clock that was ahead is noticed');

select * from finish();
rollback;
