-- Errors are listed, have a code and a hint, and are caught by name.

begin;
select plan(4);

create temporary view body as
select p.oid::regprocedure::text as function, regexp_replace(p.prosrc, '--[^\n]*', '', 'g') as source
from pg_proc p
where p.pronamespace = 'underway'::regnamespace;

select set_eq(
    $$ select distinct code[1] from body cross join regexp_matches(source, 'errcode = ''(UW\d\d\d)''', 'g') as code $$,
    'select sqlstate::text from underway.error_code',
    'the codes that functions raise are the codes in error_code'
);

select is_empty(
    $$ select function from body where source ~* '\mraise\s+exception\M(?!\s+using\M)' $$,
    'each error is raised with a code, a message and a hint'
);

select is_empty(
    $$ select function from body where source ~* '\mwhen\s+others\M' $$,
    'no function catches others'
);

select is_empty(
    $$ select function from body where source ~* '\mraise\s+(debug|log|info|notice|warning)\M' and function <> 'underway._report_orphans(text)' $$,
    'only redrive raises notices, for letters that it leaves'
);

select * from finish();
rollback;
