-- whoever leaves off running tells that its key is free

begin;
select plan(34);

select underway_test.stop_clock();
select underway.create_queue('email');
select underway.create_queue('sms');

create temporary table woken (queue text) on commit drop;

create or replace function underway._wake(queue text, delay interval default '0')
returns void
language sql
volatile
as 'insert into pg_temp.woken values (_wake.queue)';

-- what is noted

select underway._free_keys('{1,2,3,4}', '{email,email,sms,email}', '{a,a,a,null}');
select results_eq(
    'select queue collate "default", concurrency_key collate "default" from underway.ready_key order by 1, 2',
    $$ values ('email', 'a'), ('sms', 'a') $$,
    'each key is noted once for its queue; where there is no key, nothing is'
);
select set_eq(
    'select queue from woken', $$ values ('email'), ('sms') $$, 'the workers of all of the queues are woken'
);
select is((select count(*) from woken), 2::bigint, 'once');

truncate woken;
select underway._free_keys('{1}', '{sms}', '{null}');
select results_eq('select queue from woken', $$ values ('sms') $$, 'also of a queue whose tasks have no key');
select underway._free_keys('{}', '{}', '{}');
select is((select count(*) from woken), 1::bigint, 'where nothing is freed, nobody is woken');
truncate underway.ready_key;

-- whatever ends an attempt

create function pg_temp.end_of(name text, how text) returns void language plpgsql as $$
declare
    v_held underway_test.held;
begin
    select t.id, t.lease into strict v_held
    from underway.task t
    where t.input = to_jsonb(end_of.name) and t.state = 'in_progress';

    case end_of.how
        when 'completed' then perform underway.complete(v_held.id, v_held.lease);
        when 'given back' then perform underway.release(v_held.id, v_held.lease);
        when 'put back for later' then perform underway.snooze(v_held.id, v_held.lease, '1 day');
        when 'cancelled' then perform underway.cancel(v_held.id);
        when 'failed for good' then perform underway.fail(v_held.id, v_held.lease, '"x"', retryable => false);
        when 'to be tried again' then perform underway.fail(v_held.id, v_held.lease, '"x"', retry_after => '1 day');
        when 'lapsed' then
            update underway.task t set lease_expires_at = underway._clock() where t.id = v_held.id;
            perform underway._reclaim(everything => true);
    end case;
end;
$$;

-- In each way: what is noted, what is claimed then, what is noted after it, and who was woken.
create function pg_temp.after_end(how text) returns text[] language plpgsql as $$
declare
    v_seen text[];
begin
    perform underway_test.no_tasks();
    perform underway_test.keyed_tasks('a1 a2 b1 b2 a3');
    perform underway_test.claimed();
    perform underway_test.advance_clock('1 second');
    truncate woken;
    perform pg_temp.end_of('a1', after_end.how);
    v_seen := array[underway_test.freed(), (select string_agg(distinct w.queue, ' ') from woken w)];
    return v_seen || array[underway_test.claimed(), underway_test.freed()];
end;
$$;

select is(
    pg_temp.after_end(how), '{a,email,a2,""}',
    format('when a task is %s, its key is noted, workers are woken, and the next of the key is claimed', how)
)
from unnest(array[
    'completed', 'given back', 'put back for later', 'cancelled', 'failed for good', 'to be tried again', 'lapsed'
]) as way (how);

-- a task that is given back goes to the end

select pg_temp.after_end('given back');
select underway_test.done('a2');
select is(underway_test.claimed(), 'a3', 'what is parked comes before a task that is given back');
select underway_test.done('a3');
select is(underway_test.claimed(), 'a1', 'which is claimed when its turn comes again');

-- a task that does not run frees nothing

select underway_test.no_tasks();
select underway_test.keyed_tasks('a1 a2 a3 a4');
select underway_test.claimed();
select underway.cancel(underway_test.named('a3'));
select is(underway_test.freed(), '', 'a parked task that is cancelled frees no key');
select underway_test.done('a1');
select is(underway_test.claimed(), 'a2', 'and those around it are claimed in their order');
select underway_test.done('a2');
select is(underway_test.claimed(), 'a4', 'to the last');
select underway_test.done('a4');
select is(underway_test.freed(), 'a', 'where nothing is parked, the key is noted all the same');
select is(underway_test.claimed(), '', 'until the next claim');
select is(underway_test.freed(), '', 'has looked');

-- the note stays while the key has room and something parked, and no longer

select underway.create_queue('sms', max_running_per_key => 2);
select underway_test.keyed_tasks('a1 a2 a3 a4 a5', 'sms');
select underway_test.claimed(100, 'sms');
select is(underway_test.freed('sms'), '', 'nothing is noted while the key is taken');
select underway_test.done('a1 a2');
select is(underway_test.freed('sms'), 'a', 'when it is freed it is noted');
select is(underway_test.claimed(1, 'sms'), 'a3', 'a claim of one takes one');
select is(underway_test.freed('sms'), 'a', 'and leaves the note for the next');
select is(underway_test.claimed(1, 'sms'), 'a4', 'which takes the other');
select is(underway_test.freed('sms'), '', 'and with it the note, though there is more parked');
select is(underway_test.parked(), 'a5', 'for which there is no room');
select underway_test.done('a3 a4');
select is(underway_test.claimed(100, 'sms'), 'a5', 'the last that is parked');
select is(underway_test.freed('sms'), '', 'takes the note with it, though the key has room');

-- of another priority

select underway_test.keyed_tasks('a6', 'sms');
select underway_test.keyed_tasks('a7', 'sms', priority => -1);
select underway_test.claimed(100, 'sms');
select is(underway_test.parked(), 'a7', 'a task of a lower priority is parked');
select underway_test.done('a5 a6');
select is(underway_test.claimed(100, 'sms'), 'a7', 'and found, though the key is looked at in a higher one first');

-- a queue without keys

delete from underway.keyed_queue;
select underway_test.ready_task('letter');
select underway.dequeue('letter');
truncate woken;
select underway.complete(t.id, t.lease) from underway.task t where t.queue = 'letter';
select is_empty('select from woken', 'in a queue without limits nobody is woken by what finishes');

select underway.create_queue('letter', max_running => 1);
truncate woken;
select underway_test.ready_task('letter');
select underway.dequeue('letter');
truncate woken;
select underway.complete(t.id, t.lease) from underway.task t where t.queue = 'letter';
select results_eq('select queue from woken', $$ values ('letter') $$, 'in one with a limit they are');
select is_empty('select from underway.ready_key', 'and no key is noted');

select * from finish();
rollback;
