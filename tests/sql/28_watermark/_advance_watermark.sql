begin;
select plan(9);

create function pg_temp.settled() returns underway.watermark language sql as $$
    select underway._usable_watermark('email', 5)
$$;

create function pg_temp.note(ready_at timestamptz, noted_at timestamptz, noted_by xid8) returns void language sql as $$
    insert into underway.watermark values ('email', 5, note.ready_at, note.noted_at, note.noted_by)
$$;

select is((pg_temp.settled()).queue, null, 'a lane without a floor has none that is settled');

select pg_temp.note('2020-01-01 00:00:00Z', '2020-01-01 00:01:00Z', '3');

select is(
    (pg_temp.settled()).noted_at, '2020-01-01 00:01:00Z'::timestamptz,
    'a floor is settled when the transaction that noted it and all before it have ended'
);

select underway._advance_watermark(pg_temp.settled(), null);

select results_eq(
    $$ select ready_at, noted_by from underway.watermark where queue = 'email' $$,
    $$ values ('2020-01-01 00:01:00Z'::timestamptz, pg_current_xact_id()) $$,
    'where nothing is left it is raised to the time that was noted, and the earlier floor goes'
);

select cmp_ok(
    (select noted_at from underway.watermark where queue = 'email'), '<=', now(),
    'the time that is noted now lies before the transaction had its id'
);

select is((pg_temp.settled()).queue, null, 'what this transaction has noted is not settled while it runs');

delete from underway.watermark where queue = 'email';
select pg_temp.note('2020-01-01 00:00:00Z', '2020-01-01 00:01:00Z', '3');
select underway._advance_watermark(pg_temp.settled(), '2020-01-01 00:00:30Z');

select is(
    (select ready_at from underway.watermark where queue = 'email'), '2020-01-01 00:00:30Z'::timestamptz,
    'what is still there bounds it'
);

delete from underway.watermark where queue = 'email';
select pg_temp.note('2020-01-01 00:02:00Z', '2020-01-01 00:01:00Z', '3');
select underway._advance_watermark(pg_temp.settled(), null);

select is(
    (select ready_at from underway.watermark where queue = 'email'), '2020-01-01 00:02:00Z'::timestamptz,
    'it never falls'
);

delete from underway.watermark where queue = 'email';
select pg_temp.note('2020-01-01 00:00:00Z', '2020-01-01 00:01:00Z', '3');
select pg_temp.note('2020-01-01 00:00:00Z', '2020-01-01 00:02:00Z', '4');

select is(
    (pg_temp.settled()).noted_at, '2020-01-01 00:02:00Z'::timestamptz,
    'of several floors the one that was noted last counts'
);

delete from underway.watermark where queue = 'email';
select pg_temp.note('2020-01-01 00:00:00Z', now() + interval '1 hour', '3');

select is(
    (pg_temp.settled()).queue, null, 'a time that was noted before the clock was put back is left until it has come'
);

select * from finish();
rollback;
