begin;
select plan(2);

select is(
    (select version from underway.schema_version()), (select max(version) from underway.migration),
    'the version is the number of the newest migration'
);
select cmp_ok(
    (select oldest_package from underway.schema_version()), '<=', (select version from underway.schema_version()),
    'a package of this version works with it'
);

select * from finish();
rollback;
