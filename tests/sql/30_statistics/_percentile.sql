begin;
select plan(8);

select is(underway._percentile('{}', 0.5), null, 'without durations there is no percentile');
select is(underway._percentile(null, 0.5), null, 'without a histogram there is no percentile');
select is(underway._percentile('{0,0}', 0.5), null, 'empty buckets give no percentile');
select is(underway._percentile('{10}', 0.5), 0.0005::double precision, 'durations are spread evenly over their bucket');
select is(underway._percentile('{0,10}', 0.5), 0.0015::double precision, 'a bucket begins at the bound before it');
select is(underway._percentile('{90,0,10}', 0.95), 0.003::double precision, 'empty buckets are skipped');
select is(
    underway._percentile(array_fill(0::bigint, array[27]) || 5::bigint, 0.5), 67108.864::double precision,
    'beyond the last bound the percentile is that bound'
);
select is(underway._percentile('{9223372036854775807}', 1), 0.001::double precision, 'the largest count is no problem');

select * from finish();
rollback;
