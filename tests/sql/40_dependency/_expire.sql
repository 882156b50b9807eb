-- tasks that no worker has begun in time

begin;
select plan(29);

select underway_test.stop_clock('2030-01-01 12:00:00+00');
select underway.create_queue('email', dead_letter_queue => 'dead') from underway.create_queue('dead');

create temporary table task on commit drop as
select name, underway.enqueue('email', to_jsonb(name), expires => '1 minute', unique_key => name) as id
from unnest('{a,b,c,d,e}'::text[]) as name;

create function pg_temp.id(name text) returns bigint language sql as $$ select t.id from task t where t.name = id.name $$;
create function pg_temp.expire(variadic names text[]) returns integer language sql as $$
    select underway._expire(array(select pg_temp.id(name) from unnest(expire.names) as name), underway._clock())
$$;

select is(pg_temp.expire('a'), 0, 'a task does not expire before its time');
select underway_test.advance_clock('1 minute');
select is(pg_temp.expire('a', 'a'), 1, 'a task expires at its time, once');
select is(pg_temp.expire('a'), 0, 'a task that is final does not expire again');

select results_eq(
    format($$
        select state::text, reason, expires_at, finished_at, attempt from underway.task_info(%s)
    $$, pg_temp.id('a')),
    $$ values (
        'cancelled', 'expired', '2030-01-01 12:01:00+00'::timestamptz, '2030-01-01 12:01:00+00'::timestamptz, 0
    ) $$,
    'it is cancelled with the reason expired'
);
select is_empty($$ select from underway.task where queue = 'dead' $$, 'a task that has expired leaves no dead letter');

-- states

update underway.task set state = 'in_progress', attempt = 1, lease_expires_at = underway._clock() where id = pg_temp.id('b');
select is(pg_temp.expire('b'), 0, 'a task that runs does not expire');
update underway.task set state = 'waiting', attempt = 0, lease_expires_at = null where id = pg_temp.id('b');
select is(pg_temp.expire('b'), 1, 'a waiting task expires');
update underway.task set parked = true where id = pg_temp.id('c');
select is(pg_temp.expire('c'), 1, 'a parked task expires');
select underway.cancel(pg_temp.id('d'));
select is(underway_test.state_of(pg_temp.id('d')), 'cancelled', 'a task that has expired can be cancelled');
select is(
    (select reason from underway.task_info(pg_temp.id('d'))), null, 'then the reason is not that it has expired'
);

-- unique keys

select isnt(
    underway.enqueue('email', unique_key => 'e'), pg_temp.id('e'), 'a task that has expired does not hold its unique key'
);
select is(
    (select reason from underway.task_info(pg_temp.id('e'))), 'expired', 'an enqueue with its key cancels it as expired'
);

-- retry

select underway.retry(pg_temp.id('a'));
select results_eq(
    format('select state::text, expires_at from underway.task_info(%s)', pg_temp.id('a')),
    $$ values ('pending', null::timestamptz) $$,
    'a retried task does not expire any more'
);

-- what depends on it

create temporary table first on commit drop as select underway.enqueue('email', expires => '1 minute') as id;
create temporary table next on commit drop as
select underway.enqueue('email', after => array[id], after_failure => 'fail') as id from first;
create temporary table batch on commit drop as
select underway.enqueue_batch('[{"queue": "email", "expires": "1 minute"}]', on_failure => '{"queue": "email"}') as id;
select underway_test.advance_clock('1 minute');

select is((underway._expire_overdue(1)).expired, 1, 'at most so many tasks expire at once');
select is((underway._expire_overdue()).expired, 1, 'the next call cancels the next');
select is((underway._expire_overdue()).expired, 0, 'until none is left');
select is(underway_test.state_of(id), 'waiting', 'a task that comes after it is left to maintain') from next;
select underway._reevaluate_batches();
select is(underway_test.state_of(id), 'failed', 'maintain fails a task that comes after it') from next;
select is(
    underway_test.state_of(s.on_failure), 'pending', 'maintain starts the on_failure callback of its batch'
)
from underway.batch_stats s join batch on batch.id = s.batch;

-- the order

select underway_test.no_tasks();
select underway.enqueue('email', to_jsonb(given.name), expires => given.expires, delay => given.delay)
from (values ('late', interval '3 minutes', interval '0'), ('soon', '1 minute', '1 minute'), ('first', '1 minute', '0'))
    as given (name, expires, delay);
select underway_test.advance_clock('3 minutes');
select is((underway._expire_overdue(1)).expired, 1, 'one expires');
select is(underway_test.ready(), 'late soon', 'the task that has expired first is the first');
select is((underway._expire_overdue(1)).expired, 1, 'another expires');
select is(underway_test.ready(), 'late', 'expires counts from when a task is due');

-- from when on the next call has to look

select underway_test.no_tasks();
select underway.enqueue('email', to_jsonb(n), expires => interval '1 minute' * n) from generate_series(1, 3) n;
select underway_test.advance_clock('1 hour');
create temporary table part on commit drop as select * from underway._expire_overdue(2);
select is(since, underway._clock() - interval '58 minutes', 'a call that leaves some returns how far it came') from part;
create temporary table rest on commit drop as select e.* from part, underway._expire_overdue(2, part.since) e;
select is(expired, 1, 'the next call goes on there') from rest;
select is(since, underway._clock(), 'once none is left it returns the time') from rest;
select underway.enqueue('email', expires_at => underway._clock());
select underway_test.advance_clock('9 minutes');
select is(e.expired, 1, 'a task that appears some minutes late expires') from rest, underway._expire_overdue(2, rest.since) e;
select underway_test.stop_clock(underway._clock() - interval '1 day');
select is(e.since, underway._clock(), 'after the clock was put back the time is the new one') from rest, underway._expire_overdue(2, rest.since) e;

-- watchers

select underway.watch(underway.enqueue('email', expires_at => underway._clock()));
select lives_ok('select (underway._expire_overdue()).expired', 'a task that somebody watches expires');

select * from finish();
rollback;
