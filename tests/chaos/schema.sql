-- What the database says of itself, in the transactions that say it: every change of a live task, and the effects of
-- handlers. No key on the effects: a second effect is to be seen, not refused.

create schema chaos;

create table chaos.effect (n integer not null, task bigint not null, attempt integer not null);

create table chaos.transition (
    seq             bigint generated always as identity primary key,
    task            bigint not null,
    verb            text not null,
    at              timestamptz not null,
    before          text,
    after           text not null,
    attempt         integer not null,
    lease           uuid,
    expires_at      timestamptz,
    queue           text not null,
    concurrency_key text,
    client          text not null default current_setting('application_name')
);

-- The lease of a row is the one that it has, or had until this change; a deletion is told by the history.
create function chaos.note() returns trigger language plpgsql as $$
declare
    v_verb text := coalesce(substring(current_query() from 'underway\.(\w+)\s*\('), 'unknown');
begin
    if tg_op = 'INSERT' then
        insert into chaos.transition (task, verb, at, after, attempt, queue, concurrency_key)
        values (new.id, v_verb, clock_timestamp(), new.state, new.attempt, new.queue, new.concurrency_key);
    elsif tg_op = 'DELETE' then
        insert into chaos.transition (
            task, verb, at, before, after, attempt, lease, expires_at, queue, concurrency_key
        )
        values (
            old.id, v_verb, clock_timestamp(), old.state, 'final', old.attempt, old.lease, old.lease_expires_at,
            old.queue, old.concurrency_key
        );
    elsif (old.state, old.attempt, old.lease, old.lease_expires_at)
        is distinct from (new.state, new.attempt, new.lease, new.lease_expires_at)
    then
        insert into chaos.transition (
            task, verb, at, before, after, attempt, lease, expires_at, queue, concurrency_key
        )
        values (
            new.id, v_verb, clock_timestamp(), old.state, new.state, new.attempt, coalesce(new.lease, old.lease),
            case when new.lease is null then old.lease_expires_at else new.lease_expires_at end,
            new.queue, new.concurrency_key
        );
    end if;
    return null;
end;
$$;

create trigger note after insert or update or delete on underway.task for each row execute function chaos.note();

-- A disk that is full, while somebody says so.
create table chaos.disk (is_full boolean not null);
insert into chaos.disk values (false);

create function chaos.refuse_when_full() returns trigger language plpgsql as $$
begin
    if (select d.is_full from chaos.disk d) then
        raise disk_full using message = 'could not extend file: No space left on device';
    end if;
    return null;
end;
$$;

create trigger refuse_when_full before insert on underway.task
    for each statement execute function chaos.refuse_when_full();
create trigger refuse_when_full before insert on underway.task_history
    for each statement execute function chaos.refuse_when_full();
