-- One function reads the clock.

begin;
select plan(3);

create function pg_temp.reads_clock(source text)
returns boolean
language sql
as $$
    select regexp_replace(source, '--[^\n]*', '', 'g') ~* (
        '\m(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday)\s*\('
        '|\m(current_timestamp|current_date|current_time|localtimestamp|localtime)\M'
        '|''(now|today|tomorrow|yesterday)'''
    )
$$;

select set_eq(
    $$
        select p.proname::text
        from pg_proc p
        where p.pronamespace = 'underway'::regnamespace
          and pg_temp.reads_clock(pg_get_functiondef(p.oid))
    $$,
    $$ values ('_clock'), ('_clock_before_xid') $$,
    'only _clock reads the clock, and _clock_before_xid the start of the transaction'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'v'
          and pg_temp.reads_clock(pg_get_viewdef(c.oid))
    $$,
    'no view reads the clock'
);

select is_empty(
    $$
        select d.adrelid::regclass
        from pg_attrdef d
        join pg_class c on c.oid = d.adrelid
        where c.relnamespace = 'underway'::regnamespace
          and c.relname <> 'migration'  -- written by the installer before any function exists
          and pg_temp.reads_clock(pg_get_expr(d.adbin, d.adrelid))
    $$,
    'no column has the current time as default'
);

select * from finish();
rollback;
