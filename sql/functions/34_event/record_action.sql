-- record_action: record what a person has done, in the transaction that does it.
--
-- Writes: audit.
-- Calls: _clock.
-- Raises: UW001 invalid_argument.

create or replace function underway.record_action(actor text, source text, action text, details jsonb default '{}')
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    if coalesce(record_action.source, '') = '' or coalesce(record_action.action, '') = '' then
        raise exception using
            errcode = 'UW001',
            message = format('an action needs a source and a name; given are %L and %L', record_action.source,
                record_action.action),
            hint = 'Give for example source => ''dashboard'', action => ''cancel''.';
    end if;

    insert into underway.audit (at, actor, role, source, action, details)
    values (
        underway._clock(), coalesce(record_action.actor, ''), session_user, record_action.source, record_action.action,
        coalesce(record_action.details, '{}')
    )
    returning id into v_id;

    return v_id;
end;
$$;

comment on function underway.record_action(text, text, text, jsonb) is
    'Record an action of a person, with the login role of the session. Call it in the transaction of the action.'
    ' Returns the id of the record, which is kept for 90 days.';
