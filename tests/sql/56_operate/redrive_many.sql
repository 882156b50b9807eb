begin;
select plan(3);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
create temporary table origin on commit drop as select underway_test.finished_task('failed', 'email') as id from generate_series(1, 3);
create temporary table letter on commit drop as select id from underway.task where queue = 'dead' order by id limit 2;
create temporary table other on commit drop as select underway_test.ready_task('email') as id;

select set_eq(
    'select underway.redrive_many(array(select id from letter union all select id from other union all select 0))',
    'select id from letter', 'the dead letters among the tasks are moved, and their ids returned'
);
select is(
    (select count(*) from origin where underway_test.state_of(id) = 'pending'), 2::bigint, 'their tasks are pending again'
);
select is((select count(*) from underway.task where queue = 'dead'), 1::bigint, 'other letters stay');

select * from finish();
rollback;
