begin;
select plan(4);

select is(cardinality(underway.histogram_bounds()), 27, 'there are 27 bounds');
select is((underway.histogram_bounds())[1], 0.001::double precision, 'the first bound is a millisecond');
select is((underway.histogram_bounds())[27], 67108.864::double precision, 'the last bound is about 19 hours');
select is_empty(
    $$
        select bound
        from unnest(underway.histogram_bounds()) with ordinality as b (bound, number)
        where bound <> 0.001 * 2 ^ (number - 1)
    $$,
    'each bound is twice the one before'
);

select * from finish();
rollback;
