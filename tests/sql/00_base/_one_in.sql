begin;
select plan(2);

select is(bool_and(underway._one_in(1)), true, 'of one call each is the one') from generate_series(1, 100);
select set_eq(
    'select underway._one_in(2) from generate_series(1, 1000)', array[true, false], 'of two calls some are the one and some are not'
);

select * from finish();
rollback;
