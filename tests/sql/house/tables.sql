-- What the tables are not burdened with.

begin;
select plan(3);

select is_empty(
    $$
        select conname
        from pg_constraint
        where contype = 'f'
          and 'underway.task'::regclass in (conrelid, confrelid)
    $$,
    'no foreign key leads from the live tasks, or to them'
);

select is_empty(
    $$
        select tgrelid::regclass, tgname
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = 'underway'::regnamespace
          and not t.tgisinternal
    $$,
    'no trigger moves anything'
);

select is_empty(
    $$
        select rulename
        from pg_rewrite r
        join pg_class c on c.oid = r.ev_class
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind in ('r', 'p')
    $$,
    'no rule rewrites anything'
);

select * from finish();
rollback;
