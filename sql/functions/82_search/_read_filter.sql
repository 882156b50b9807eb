-- _read_filter: read the filter of a search, a JSON object.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._filter_texts(filter jsonb, key text)
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_value jsonb := _filter_texts.filter -> _filter_texts.key;
begin
    if v_value is null or jsonb_typeof(v_value) = 'null' then
        return null;
    end if;
    if jsonb_typeof(v_value) = 'string' then
        v_value := jsonb_build_array(v_value);
    end if;
    if jsonb_typeof(v_value) <> 'array'
       or exists (
           select from jsonb_array_elements(v_value) as item (value)
           where jsonb_typeof(item.value) not in ('string', 'number')
       ) then
        raise exception using
            errcode = 'UW001',
            message = format('%L of the filter is %s', _filter_texts.key, left(v_value::text, 200)),
            hint = 'Give an array.';
    end if;

    return array(select item.value from jsonb_array_elements_text(v_value) as item (value));
end;
$$;

comment on function underway._filter_texts(jsonb, text) is 'A list of a filter, as texts; null without it.';

create or replace function underway._read_filter(filter jsonb)
returns underway.task_filter
language plpgsql
stable -- times without a zone are in that of the session
set search_path = pg_catalog, pg_temp
as $$
declare
    v_filter  underway.task_filter;
    v_keys    text[] := array[
        'state', 'queue', 'job', 'key', 'enqueued_after', 'enqueued_before', 'finished_after', 'finished_before',
        'error', 'input', 'worker', 'dead_letter', 'ids'
    ];
    v_unknown text;
    v_field   text;
    v_message text;
begin
    if jsonb_typeof(coalesce(_read_filter.filter, '{}')) <> 'object' then
        raise exception using
            errcode = 'UW001',
            message = format('the filter is %s', left(_read_filter.filter::text, 200)),
            hint = 'Give a JSON object such as {"state": ["failed"]}.';
    end if;

    select min(given.key) into v_unknown
    from jsonb_object_keys(coalesce(_read_filter.filter, '{}')) as given (key)
    where given.key <> all (v_keys);
    if v_unknown is not null then
        raise exception using
            errcode = 'UW001',
            message = format('a filter has no key %L', left(v_unknown, 200)),
            hint = format('The keys are %s.', array_to_string(v_keys, ', '));
    end if;

    begin
        v_field := 'state';
        v_filter.states := underway._filter_texts(_read_filter.filter, v_field);
        perform v_filter.states::underway.task_state[];
        v_field := 'queue';
        v_filter.queues := underway._filter_texts(_read_filter.filter, v_field);
        v_field := 'job';
        v_filter.jobs := underway._filter_texts(_read_filter.filter, v_field);
        v_field := 'ids';
        v_filter.ids := underway._filter_texts(_read_filter.filter, v_field)::bigint[];
        v_field := 'key';
        v_filter.key := _read_filter.filter ->> v_field;
        v_field := 'error';
        v_filter.error := _read_filter.filter ->> v_field;
        v_field := 'enqueued_after';
        v_filter.enqueued_after := (_read_filter.filter ->> v_field)::timestamptz;
        v_field := 'enqueued_before';
        v_filter.enqueued_before := (_read_filter.filter ->> v_field)::timestamptz;
        v_field := 'finished_after';
        v_filter.finished_after := (_read_filter.filter ->> v_field)::timestamptz;
        v_field := 'finished_before';
        v_filter.finished_before := (_read_filter.filter ->> v_field)::timestamptz;
        v_field := 'input';
        -- PostgreSQL evaluates the steps of a path one within the other; 3,000 of them have exhausted its stack.
        if length(_read_filter.filter ->> v_field) > 2000 then
            raise exception using
                errcode = 'UW001',
                message = format(
                    'input of the filter is a path of %s characters, which begins with %L',
                    length(_read_filter.filter ->> v_field), left(_read_filter.filter ->> v_field, 50)
                ),
                hint = 'A path may have 2000 characters.';
        end if;
        v_filter.input := (_read_filter.filter ->> v_field)::jsonpath;
        v_field := 'worker';
        v_filter.worker := (_read_filter.filter ->> v_field)::bigint;
        v_field := 'dead_letter';
        v_filter.dead_letter := (_read_filter.filter ->> v_field)::boolean;
    exception when data_exception or syntax_error or invalid_regular_expression then
        get stacked diagnostics v_message = message_text;
        raise exception using
            errcode = 'UW001',
            message = format(
                '%L of the filter is %s: %s', v_field, left((_read_filter.filter -> v_field)::text, 200), v_message
            ),
            hint = case v_field
                when 'input' then 'Give an SQL/JSON path such as $.customer ? (@ == 7).'
                when 'state' then 'Give an array of states such as ["failed", "cancelled"].'
                else 'Give a value of the right type.'
            end;
    end;

    return v_filter;
end;
$$;

comment on function underway._read_filter(jsonb) is
    'The filter of a search, from a JSON object. Refuses unknown keys and values of the wrong type.';
