-- One function tells the time.

begin;
select plan(3);

create function pg_temp.tells_time(source text)
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
          and pg_temp.tells_time(pg_get_functiondef(p.oid))
    $$,
    $$ values ('_clock'), ('_clock_before_xid') $$,
    'among the functions only _clock tells the time, and _clock_before_xid that of the transaction'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'v'
          and pg_temp.tells_time(pg_get_viewdef(c.oid))
    $$,
    'no view tells the time'
);

select is_empty(
    $$
        select d.adrelid::regclass
        from pg_attrdef d
        join pg_class c on c.oid = d.adrelid
        where c.relnamespace = 'underway'::regnamespace
          and c.relname <> 'migration'  -- the installer's own, older than any function
          and pg_temp.tells_time(pg_get_expr(d.adbin, d.adrelid))
    $$,
    'no column takes the time by default'
);

select * from finish();
rollback;
