-- plpgsql_check checks every function, on servers that have it.

begin;
select plan(1);

create temporary table finding (function text, level text, description text) on commit drop;

do $$
begin
    if not exists (select from pg_available_extensions where name = 'plpgsql_check') then
        return;
    end if;

    create extension if not exists plpgsql_check;

    insert into finding
    select
        p.oid::regprocedure, found.level,
        concat_ws(': ', p.oid::regprocedure, 'line ' || found.lineno, found.level, found.message, found.detail, found.query)
    from pg_proc p
    join pg_language l on l.oid = p.prolang
    cross join lateral plpgsql_check_function_tb(p.oid, fatal_errors => false, extra_warnings => true) as found
    where p.pronamespace = 'underway'::regnamespace
      and l.lanname = 'plpgsql';
end;
$$;

select diag(description) from finding where level <> 'error' order by description;

select case
    when exists (select from pg_extension where extname = 'plpgsql_check')
        then is_empty($$ select description from finding where level = 'error' $$, 'plpgsql_check finds no error')
    else skip('this server has no plpgsql_check', 1)
end;

select * from finish();
rollback;
