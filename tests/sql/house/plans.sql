begin;

select plan(2);

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
    'functions that look up tasks disable sequential scans'
);

select is_empty(
    $$
        select p.oid::regprocedure::text
        from pg_proc p
        where p.pronamespace = 'underway'::regnamespace
          and exists (select from unnest(p.proconfig) as setting where setting ~ '^enable_')
          and not 'jit=off' = any (p.proconfig)
    $$,
    'a function that sets a planner method also turns JIT off, because a disabled scan exceeds the cost limits of JIT'
);

select * from finish();
rollback;
