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
    -- without comments
    regexp_replace(pg_get_functiondef(p.oid), '--[^\n]*', '', 'g') as source
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = 'underway'::regnamespace;

select cmp_ok(count(*), '>', 50::bigint, 'the checks find functions') from house;

select is_empty(
    $$ select function from house where coalesce(obj_description(oid, 'pg_proc'), '') !~ '^[A-Z].*\.$' $$,
    'the comment of each function consists of sentences'
);

select is_empty(
    $$
        select c.relname
        from pg_class c
        where c.relnamespace = 'underway'::regnamespace
          and c.relkind = 'v'
          and coalesce(obj_description(c.oid, 'pg_class'), '') !~ '^[A-Z].*\.$'
    $$,
    'the comment of each view consists of sentences'
);

select set_eq(
    'select name from house where not private and not security_definer',
    $$ values ('enqueue') $$,
    'all public functions are security definer, except enqueue, whose body is put into the statement of its caller'
);

select set_eq(
    'select name from house where private and security_definer',
    $$ values ('_enqueue_one'), ('_queue_of_job') $$,
    'no private function is security definer, except those that the body of enqueue calls'
);

select set_eq(
    $$
        select name
        from house
        where not private
          and not coalesce('search_path=pg_catalog, pg_temp' = any (settings), false)
    $$,
    $$ values ('enqueue') $$,
    'all public functions set their search path, except enqueue, which has no names to look up'
);

select is_empty(
    'select function from house cross join aclexplode(grants) as entry where entry.grantee = 0',
    'public may execute no function'
);

select is_empty(
    $$
        select function, entry.grantee::regrole
        from house
        cross join aclexplode(grants) as entry
        where private
          and entry.grantee <> owner
          and name not in ('_clock', '_enqueue_one', '_queue_of_job')
    $$,
    'no private function is granted, except _clock, which views call, and what the body of enqueue calls'
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
    'no function returns table, because its columns would hide those of tables'
);

select set_eq(
    $$ select name from house where language = 'plpgsql' and source ~* '\mexecute\M' $$,
    $$ values ('_prune'), ('set_shard') $$,
    'only _prune and set_shard use dynamic SQL, for partitions and sequences'
);

select * from finish();
rollback;
