begin;

select plan(1);

select is_empty(
    $$
        select p.oid::regprocedure::text
        from pg_proc p
        join pg_language l on l.oid = p.prolang
        where p.pronamespace = 'underway'::regnamespace
          and l.lanname = 'plpgsql'
          and p.prosrc ~* '(from|join|update|delete from|using) underway\.(task|task_history)\M'
          and p.proname not in ('drop_queue', 'stats')
          and not coalesce('enable_seqscan=off' = any (p.proconfig), false)
    $$,
    'whatever looks tasks up keeps no plan that reads a table from end to end'
);

select * from finish();
rollback;
