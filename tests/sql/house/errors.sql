-- What is raised is listed, and what is caught is named.

begin;
select plan(4);

create temporary view body as
select p.oid::regprocedure::text as function, regexp_replace(p.prosrc, '--[^\n]*', '', 'g') as source
from pg_proc p
where p.pronamespace = 'underway'::regnamespace;

select set_eq(
    $$ select distinct code[1] from body cross join regexp_matches(source, 'errcode = ''(UW\d\d\d)''', 'g') as code $$,
    'select sqlstate::text from underway.error_code',
    'the codes that are raised are the codes that are listed'
);

select is_empty(
    $$ select function from body where source ~* '\mraise\s+exception\M(?!\s+using\M)' $$,
    'whatever is raised has a code, a message and a hint'
);

select is_empty(
    $$ select function from body where source ~* '\mwhen\s+others\M' $$,
    'no error is caught that has no name'
);

select set_eq(
    $$ select function from body where source ~* '\mraise\s+(debug|log|info|notice|warning)\M' $$,
    $$ values ('underway._report_orphans(text)') $$,
    'no function sends notices but redrive, for letters that it leaves behind'
);

select * from finish();
rollback;
