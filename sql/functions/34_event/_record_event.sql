-- _record_event: record something that has happened, and notify the sessions that listen.
--
-- Writes: event.
-- Calls: _clock.

create or replace function underway._record_event(
    kind text,
    queue text default null,
    job text default null,
    task bigint default null,
    details jsonb default '{}'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into underway.event (at, kind, queue, job, task, details)
    values (
        underway._clock(), _record_event.kind, _record_event.queue, _record_event.job, _record_event.task,
        _record_event.details
    );
    perform pg_notify('underway_event', '');
end;
$$;

comment on function underway._record_event(text, text, text, bigint, jsonb) is
    'Record an event, and notify the sessions that listen to underway_event.';
