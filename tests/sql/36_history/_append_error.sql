begin;
select plan(4);

select is(
    underway._append_error(null, '{"message": "a"}'), '[{"message": "a"}]', 'the first error of a task begins the array'
);
select is(
    underway._append_error('[{"message": "a"}]', '{"message": "b"}'), '[{"message": "a"}, {"message": "b"}]',
    'a further error is added at the end'
);

create temporary table many as
select jsonb_agg(n order by n) as errors from generate_series(1, 20) n;

select is(
    underway._append_error(errors, '21'), (select jsonb_agg(n order by n) from generate_series(2, 21) n),
    'beyond twenty the oldest error is dropped'
)
from many;
select is(
    underway._append_error(errors - 0, '21'), (select jsonb_agg(n order by n) from generate_series(2, 21) n),
    'the twentieth error drops nothing'
)
from many;

select * from finish();
rollback;
