-- One function reads the time.

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
    $$ values ('_clock') $$,
    '_clock is the only function that reads the time'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'v'
          and pg_temp.tells_time(pg_get_viewdef(c.oid))
    $$,
    'no view reads the time'
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
    'no column has the time as its default'
);

select * from finish();
rollback;
