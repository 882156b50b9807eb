-- The schema underway_test, which `underway migrate --testing` installs. check_test makes three tests of one: whether it
-- passes, its description and its diagnostics; only those that are given are checked.

begin;
select plan(29);

create temporary table made as
select
    underway.create_queue('email')::text as email,
    underway.create_queue('reports')::text as reports,
    underway.enqueue('email', '{"to": "ann", "lines": [1]}', job => 'send_mail') as ann,
    underway.enqueue('email', '{"to": "bob"}', job => 'send_mail') as bob,
    underway.enqueue('reports', '{"to": "ann"}', job => 'report') as report;

-- was_enqueued

select * from check_test(
    underway_test.was_enqueued('send_mail', '{"to": "ann"}'), true,
    'a task is found by a part of its input', 'send_mail with {"to": "ann"} was enqueued'
);
select * from check_test(
    underway_test.was_enqueued('send_mail', '{"lines": [1, 1]}'), false,
    'a list does not match another list of the same elements'
);
select * from check_test(
    underway_test.was_enqueued('send_mail', queue => 'reports'), false, 'a task of another queue does not match'
);
select * from check_test(
    underway_test.was_enqueued('send_mail', times => 2, description => 'twice'), true, 'the tasks are counted', 'twice'
);
select * from check_test(
    underway_test.was_enqueued('send_mail', times => 1), false, 'one task too many is a failure',
    'send_mail was enqueued 1 times'
);
select * from check_test(
    underway_test.was_enqueued('report', '{"to": "bob"}'), false,
    'a failure lists what was enqueued instead, the nearest first', 'report with {"to": "bob"} was enqueued',
    'found 0 times: report with {"to": "bob"}
enqueued: task \d+: report in queue reports with {"to": "ann"}
enqueued: task \d+: send_mail in queue email with {"to": "bob"}
enqueued: task \d+: send_mail in queue email with {"to": "ann", "lines": \[1\]}', true
);

-- was_not_enqueued, task_state_is

select * from check_test(
    underway_test.was_not_enqueued('send_mail', '{"to": "eve"}'), true,
    'what was not enqueued is not', 'send_mail with {"to": "eve"} was not enqueued'
);
select * from check_test(underway_test.was_not_enqueued('send_mail'), false, 'what was enqueued is');
select * from check_test(
    underway_test.task_state_is((select ann from made), 'pending'), true, 'a live task has its state'
);
select underway.cancel(ann) from made;
select * from check_test(
    underway_test.task_state_is((select ann from made), 'pending'), false, 'a final task has another'
);
select * from check_test(
    underway_test.was_not_enqueued('send_mail', '{"to": "ann"}'), true, 'a final task is not enqueued any more'
);
select * from check_test(
    underway_test.task_state_is(0, 'pending'), false, 'a task that does not exist has none', 'task 0 is pending',
    '        have: no such task
        want: pending'
);

-- The clock

select underway_test.stop_clock('2030-01-01 00:00+00');
select is(underway_test.advance_clock('90 minutes'), '2030-01-01 01:30+00', 'the clock is moved by an interval');
select is(underway._clock(), '2030-01-01 01:30+00', 'the clock stands still');
select underway_test.start_clock();
select cmp_ok(abs(extract(epoch from underway._clock() - clock_timestamp())), '<', 60::numeric, 'a started clock goes');

-- clear, uninstall

select underway_test.stop_clock();
select underway_test.clear();
select is((select count(*) from underway.task_list), 0::bigint, 'clear deletes live and finished tasks');
select is((select count(*) from underway.queue), 2::bigint, 'clear leaves the queues');
select isnt(underway._clock(), '2030-01-01 12:00+00', 'clear starts the clock');
select underway.enqueue('email');
select is((select count(*) from underway.dequeue('email')), 1::bigint, 'a queue works after clear');

select underway_test.stop_clock();
select underway_test.uninstall();
select hasnt_schema('underway_test'::name, 'uninstall removes the schema');
select isnt(underway._clock(), '2030-01-01 12:00+00', 'uninstall starts the clock');

select * from finish();
rollback;
