-- the floor of the leases

begin;
select plan(5);

create function pg_temp.raised(noted_at timestamptz) returns timestamptz language plpgsql as $$
begin
    -- As an earlier transaction would have left it.
    delete from underway.watermark f where f.queue = '';
    insert into underway.watermark values ('', 0, '-infinity', raised.noted_at, '3');
    perform underway_test.stop_clock('2026-01-01 14:00:00Z');
    perform underway._advance_lease_watermark();
    return (select f.ready_at from underway.watermark f where f.queue = '');
end;
$$;

select is(
    pg_temp.raised('2026-01-01 12:00:00Z'), '2026-01-01 12:00:00Z'::timestamptz,
    'while nothing is held the leases are passed as far as was noted'
);

update underway.watermark set ready_at = '-infinity' where queue = '';
select underway_test.stop_clock('2026-01-01 10:00:00Z');
create temporary table held as select * from underway_test.held_task();

select is(
    pg_temp.raised('2026-01-01 12:00:00Z'), '2026-01-01 10:00:30Z'::timestamptz,
    'the lease that lapses first bounds them'
);

select is(
    pg_temp.raised('2026-01-01 10:00:10Z'), '2026-01-01 10:00:10Z'::timestamptz,
    'one that lapses later than was noted does not'
);

select underway._advance_lease_watermark();

select is(
    (select count(*) from underway.watermark where queue = ''), 1::bigint,
    'while what was noted is not settled nothing is added'
);

select is(underway._reclaim(), 1, 'a lease that has lapsed above the floor is taken back');

select * from finish();
rollback;
