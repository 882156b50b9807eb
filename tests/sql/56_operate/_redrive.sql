begin;
select plan(5);

select underway.create_queue('dead');
select underway.create_queue('email', dead_letter_queue => 'dead');
create temporary table origin on commit drop as select underway_test.finished_task('failed', 'email') as id from generate_series(1, 2);
create temporary table letter on commit drop as select id from underway.task where queue = 'dead';

select is(
    underway._redrive(array(select min(id) from letter)), array(select min(id) from letter), 'a letter is moved back'
);
select is(underway_test.state_of(min(id)), 'pending', 'its task is pending again') from origin;
select is((select count(*) from underway.task where queue = 'dead'), 1::bigint, 'the letter is gone');

select underway.retry(max(id)) from origin;
select is(underway._redrive(array(select id from letter)), '{}', 'a letter whose task was retried by itself is not moved');
select is(underway._redrive('{}'), '{}', 'no letters can be moved');

select * from finish();
rollback;
