begin;
select plan(4);

select underway.create_queue('c');
select underway.create_queue('b', dead_letter_queue => 'c');

select lives_ok($$ select underway._check_dead_letter_queue('a', null) $$, 'a queue needs no dead-letter queue');
select lives_ok($$ select underway._check_dead_letter_queue('a', 'b') $$, 'a dead-letter queue may have one of its own');
select throws_ok(
    $$ select underway._check_dead_letter_queue('c', 'b') $$,
    'UW001', 'queue ''c'' cannot have the dead-letter queue ''b'': its dead letters would come back to it',
    'dead letters do not come back to their queue'
);
select throws_ok(
    $$ select underway._check_dead_letter_queue('a', 'nowhere') $$, 'UW003', null, 'a dead-letter queue has to exist'
);

select * from finish();
rollback;
