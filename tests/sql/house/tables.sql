-- Rules for all tables of the schema at once.

begin;
select plan(5);

select is_empty(
    $$
        select conname
        from pg_constraint
        where contype = 'f'
          and 'underway.task'::regclass in (conrelid, confrelid)
    $$,
    'the table of live tasks has no foreign key and is the target of none'
);

select is_empty(
    $$
        select tgrelid::regclass, tgname
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = 'underway'::regnamespace
          and not t.tgisinternal
    $$,
    'no table has a trigger'
);

select is_empty(
    $$
        select rulename
        from pg_rewrite r
        join pg_class c on c.oid = r.ev_class
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind in ('r', 'p')
    $$,
    'no table has a rewrite rule'
);

-- A publication for all tables refuses updates and deletes in a table that has no replica identity.
select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind in ('r', 'p')
          and c.relpersistence = 'p' -- others are not published
          and c.relreplident <> 'f'
          and not exists (
              select
              from pg_index i
              where i.indrelid = c.oid
                and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end
          )
        order by c.relname
    $$,
    'each table has a replica identity'
);

-- In some releases of PostgreSQL 15 to 18 it is unreadable on a standby that was promoted: "bad magic number in sequence".
select is_empty(
    $$
        select c.relname
        from pg_class c
        join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
        join pg_class t on t.oid = d.refobjid
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'S'
          and t.relpersistence = 'u'
    $$,
    'no unlogged table has a sequence'
);

select * from finish();
rollback;
