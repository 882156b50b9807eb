-- The rules for all functions and views of the schema at once.

begin;
select plan(10);

create temporary view house as
select
    p.oid,
    p.oid::regprocedure::text as function,
    p.proname::text as name,
    p.proname like '\_%' as private,
    l.lanname::text as language,
    p.prosecdef as security_definer,
    p.proconfig as settings,
    p.proowner as owner,
    coalesce(p.proacl, acldefault('f', p.proowner)) as grants,
    -- Comments may say what they like.
    regexp_replace(pg_get_functiondef(p.oid), '--[^\n]*', '', 'g') as source
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = 'underway'::regnamespace;

select cmp_ok(count(*), '>', 50::bigint, 'the house is not empty') from house;

select is_empty(
    $$ select function from house where coalesce(obj_description(oid, 'pg_proc'), '') !~ '^[A-Z].*\.$' $$,
    'each function has a comment of whole sentences'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'v'
          and coalesce(obj_description(c.oid, 'pg_class'), '') !~ '^[A-Z].*\.$'
    $$,
    'each view has a comment of whole sentences'
);

select set_eq(
    'select name from house where not private and not security_definer',
    $$ values ('enqueue') $$,
    'public functions run with the rights of their owner; enqueue is no more than a call of enqueue_many'
);

select is_empty(
    'select function from house where private and security_definer',
    'private functions have no rights of their own'
);

select set_eq(
    $$
        select name
        from house
        where not private
          and not coalesce('search_path=pg_catalog, pg_temp' = any (settings), false)
    $$,
    $$ values ('enqueue') $$,
    'public functions pin their search path, but for enqueue, which has no name to look up'
);

select is_empty(
    'select function from house cross join aclexplode(grants) as entry where entry.grantee = 0',
    'nothing is executable by public'
);

select is_empty(
    $$
        select function, entry.grantee::regrole
        from house
        cross join aclexplode(grants) as entry
        where private
          and entry.grantee <> owner
          and name <> '_clock'
    $$,
    'private functions are granted to nobody, but for the clock, which views read'
);

select is_empty(
    $$
        select h.function
        from house h
        join pg_proc p on p.oid = h.oid
        where h.language = 'plpgsql'
          and p.proretset
          and 't' = any (p.proargmodes)
    $$,
    'rows are returned as a named composite: a column of returns table would hide one of a table'
);

select set_eq(
    $$ select name from house where language = 'plpgsql' and source ~* '\mexecute\M' $$,
    $$ values ('_prune') $$,
    'dynamic SQL is for partitions, and stands in one function'
);

select * from finish();
rollback;
