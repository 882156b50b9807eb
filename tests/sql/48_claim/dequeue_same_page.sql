begin;
select plan(2);

select underway.create_queue('email');

-- Of many claims that write the new version of a task on another page, each has a second row lock and the whole row in the log.
select underway.enqueue_many('email', array(
    select jsonb_build_object('number', number, 'to', 'ferris@example.com') from generate_series(1, 2000) number
));
create temporary table before on commit drop as select t.id, (t.ctid::text::point)[0] as page from underway.task t;
select is((select count(*) from underway.dequeue('email', 2000)), 2000::bigint, 'the tasks are claimed');
select cmp_ok(
    (select count(*) from underway.task t join before b on b.id = t.id where (t.ctid::text::point)[0] <> b.page),
    '<', 20::bigint, 'nearly all claims write the new version of their task on its page'
);

select * from finish();
rollback;
