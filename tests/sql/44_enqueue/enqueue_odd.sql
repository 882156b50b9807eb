-- odd but legal arguments: accepted, or refused with a clear error

begin;
select plan(39);

select underway_test.stop_clock();
select underway.create_queue('email');

-- lengths of time and times

select throws_ok(
    format($$ select underway.enqueue('email', unique_key => 'a', %s => %L) $$, option.name, given.value), 'UW001',
    format('%s is %s', option.name, given.value::interval), format('%s => %s is refused', option.name, given.value)
)
from unnest('{delay,timeout,heartbeat,retention,unique_for}'::text[]) as option (name)
cross join (
    values ('178000000 years'), ('-178000000 years')
    union all
    select unnest('{infinity,-infinity}'::text[]) where current_setting('server_version_num')::integer >= 170000
    union all
    select unnest('{101 years,-1 second}'::text[]) where current_setting('server_version_num')::integer < 170000
) as given (value);

-- arrays

select is(
    cardinality(underway.enqueue_many('email', given.inputs, concurrency_key => given.key)), 2,
    format('inputs %s are two tasks, concurrency key %s', given.inputs, given.key)
)
from (
    values ('[5:6]={1,2}'::jsonb[], null), ('[0:1]={1,2}', 'c'), (array[['1'], ['2']]::jsonb[], null), (array[['1', '2']]::jsonb[], 'c')
) as given (inputs, key);

select is(
    (
        select string_agg(t.unique_key || (t.input #>> '{}'), ' ' order by t.id)
        from underway.enqueue_unique('email', '[5:6]={1,2}', array[['b'], ['a']]) e
        join underway.task t on t.id = e.id
    ),
    null, 'the tasks of a statement are not seen by it'
);

select is(
    (
        select string_agg(t.unique_key || (t.input #>> '{}'), ' ' order by t.id)
        from underway.task t
        where t.unique_key is not null
    ),
    'b1 a2', 'arrays of other bounds and dimensions are matched element by element'
);

select throws_ok(
    $$ select underway.enqueue_many('email', array[['1', null]]::jsonb[]) $$, 'UW001', 'input 2 is null',
    'a null in an array of two dimensions is refused'
);

create temp table earlier as select underway.enqueue_many('email', '{1,2}') as ids;

select is(
    underway_test.state_of(underway.enqueue('email', after => array[ids[1:1], ids[2:2]])), 'waiting',
    'after may have two dimensions'
)
from earlier;

select throws_ok(
    $$ select underway.enqueue('email', after => array[[1, null]]) $$, 'UW001', 'after has a null among its ids',
    'a null in it is refused'
);

select throws_ok(
    format('select underway.enqueue(''email'', after => array[%s])', given.id), 'UW004',
    format('task %s does not exist', given.id), format('after task %s is refused', given.id)
)
from unnest('{9223372036854775807,-9223372036854775808}'::bigint[]) as given (id);

-- JSON

select lives_ok(
    format('select underway.enqueue(''email'', %L, headers => %L)', given.input, jsonb_build_object('x', given.input)),
    given.name || ' is an input, and part of headers'
)
from (
    values
        ('a number of 5,000 digits', repeat('9', 5000)::jsonb),
        ('an array 3,000 deep', (repeat('[', 3000) || repeat(']', 3000))::jsonb),
        ('a key of 100,000 characters', jsonb_build_object(repeat('k', 100000), 1))
) as given (name, input);

-- retry policies

select throws_ok(
    format('select underway.enqueue(''email'', retry_policy => row(5, ''1 s'', ''1 min'', %L, %L)::underway.retry_policy)', given.factor, given.jitter),
    'UW001', null, format('factor %s with jitter %s is refused', given.factor, given.jitter)
)
from (values ('NaN', '0'), ('Infinity', '0'), ('2', 'NaN'), ('-Infinity', '0')) as given (factor, jitter);

-- array_nulls = off makes the literal {null} an array of a text

set local array_nulls = off;
select is(
    underway.enqueue('email', unique_key => 'null'), underway.enqueue('email', unique_key => 'null'),
    'the text null is a unique key whatever array_nulls is'
);

select * from finish();
rollback;
