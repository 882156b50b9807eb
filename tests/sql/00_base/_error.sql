begin;
select plan(19);

-- every JSON value becomes an object with a message

select is(
    underway._error(given.error), given.stored,
    format('%s is stored as %s', coalesce(given.error::text, 'null'), given.stored)
)
from (values
    ('{"type": "ValueError", "message": "no", "traceback": "line 1", "code": 7}'::jsonb,
     '{"type": "ValueError", "message": "no", "traceback": "line 1", "code": 7}'::jsonb),
    ('"refused"', '{"message": "refused"}'),
    ('""', '{"message": ""}'),
    ('42', '{"message": "42"}'),
    ('true', '{"message": "true"}'),
    ('["a", 1]', '{"message": "[\"a\", 1]"}'),
    ('null', '{"message": "no error was given"}'),
    (null, '{"message": "no error was given"}')
) as given (error, stored);

select ok(
    underway._error('{"type": "ValueError"}') ? 'message',
    'a message is added to an object without one'
);

-- 32000 bytes of text; {"message": ""} itself takes 15 bytes

select is(
    underway._error(to_jsonb(repeat('x', 32000 - 15))) ->> 'message', repeat('x', 32000 - 15),
    'an error of 32000 bytes is stored as it is'
);

select is(
    underway._error(to_jsonb(repeat('x', 32000 - 14))) -> 'truncated', 'true',
    'an error of 32001 bytes is truncated and marked as truncated'
);

create temporary table long on commit drop as
select underway._error(jsonb_build_object(
    'type', 'ValueError',
    'message', 'the message begins ' || repeat('m', 40000),
    'traceback', repeat('t', 40000) || ' the traceback ends',
    'variables', repeat('v', 40000)
)) as error;

select is((select error ->> 'type' from long), 'ValueError', 'a truncated error keeps its type');
select matches(
    (select error ->> 'message' from long), '^the message begins m{200}',
    'a truncated error keeps the beginning of its message'
);
select matches(
    (select error ->> 'traceback' from long), 't{200} the traceback ends$',
    'a truncated error keeps the end of its traceback'
);
select is((select error -> 'variables' from long), null, 'a truncated error does not keep other keys');

select cmp_ok(
    octet_length(underway._error(jsonb_build_object(
        'type', repeat(given.text, 40000), 'message', repeat(given.text, 40000), 'traceback', repeat(given.text, 40000)
    ))::text),
    '<=', 32768,
    format('an error of %s is truncated to 32 KiB at most', given.description)
)
from (values
    ('x', 'letters'),
    (U&'\+01F6A2', 'characters of four bytes'),
    (U&'\0001', 'characters that are escaped by six'),
    ('"', 'quotes')
) as given (text, description);

select * from finish();
rollback;
