-- why a task of a fair queue is not running

begin;
select plan(7);

create function pg_temp.codes(name text) returns text language sql as $$
    select string_agg(w.code, ' ') from underway.why(underway_test.named(codes.name)) w
$$;

select underway_test.stop_clock();
select underway.create_queue('email', fair => true);
select underway.register_worker('w1', '{email}');
select underway_test.keyed_tasks('a1 a2 a3 1 2');

select is(pg_temp.codes('a1'), 'in_line', 'nothing holds back the first of a key');
select results_eq(
    $$ select reason, details from underway.why(underway_test.named('2')) $$,
    $$ values (
        'nothing holds it back: the keys of its queue are served in turn, and 1 workers serve its queue: w1',
        '{"before": null, "workers": ["w1"]}'::jsonb
    ) $$,
    'nor one without a key; how many come before it can not be said'
);
select is(pg_temp.codes('a3'), 'behind_key', 'others wait for those of their key that come before');
select underway_test.claimed();
select is(pg_temp.codes('a2'), 'key_taken', 'or for the one that runs');
select is(pg_temp.codes('a1'), 'running', 'which does');
select underway.pause_key('email', 'a');
select is(pg_temp.codes('a3'), 'key_paused key_taken behind_key', 'a paused key holds them back, too');
select underway_test.keyed_tasks('b1');
select is(pg_temp.codes('b1'), 'in_line', 'and no other');

select * from finish();
rollback;
