-- set_shard: give this database its number among the shards of an application, before it gives out any id.
--
-- Problem: no id may exist in two databases, and an id must tell its database, also after more databases are added.
-- Idea: the ids of shard N lie between N * 2^44 and (N + 1) * 2^44. 2^44 ids last for eleven years of 50,000 tasks a
-- second. 512 shards stay below 2^53, up to which JavaScript represents every integer.
-- Invariant: all ids of a database have the same number, so the number is fixed once an id was given out.
--
-- Writes: stat_position.
-- Calls: shard.
-- Raises: UW001 invalid_argument, UW017 shard_in_use.

create or replace function underway._has_given_ids()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select s.is_called from underway.task_id_seq s)
        or (select s.is_called from underway.batch_id_seq s)
        or (select s.is_called from underway.worker_id_seq s)
        or (select s.is_called from underway.event_id_seq s);
end;
$$;

comment on function underway._has_given_ids() is
    'Whether a task, batch, worker or event of this database has ever got an id.';

create or replace function underway.set_shard(shard integer)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_first bigint;
    v_name  text;
begin
    if (set_shard.shard between 0 and 511) is not true then
        raise exception using
            errcode = 'UW001',
            message = format('the shard number is %s', coalesce(set_shard.shard::text, 'null')),
            hint = 'Give a number from 0 to 511 that no other database of the application has.';
    end if;

    if set_shard.shard = underway.shard() then
        return false;
    end if;

    -- An open transaction that has taken an id is waited for: it has locked the sequence.
    if not underway._has_given_ids() then
        alter sequence underway.task_id_seq no cycle;
        alter sequence underway.batch_id_seq no cycle;
        alter sequence underway.worker_id_seq no cycle;
        alter sequence underway.event_id_seq no cycle;
    end if;
    if underway._has_given_ids() then
        raise exception using
            errcode = 'UW017',
            message = format(
                'this database is shard %s and has given out ids; it cannot become shard %s',
                underway.shard(), set_shard.shard
            ),
            hint = 'Give the number to a new database, and move the tasks there with `underway move`.';
    end if;

    v_first := (set_shard.shard::bigint << 44) + 1;
    foreach v_name in array array['task', 'batch', 'worker', 'event'] loop
        execute format(
            'alter sequence underway.%I start %s maxvalue %s restart',
            v_name || '_id_seq', v_first, v_first + (1::bigint << 44) - 2
        );
    end loop;

    -- Tasks with lower ids come from other shards, which have counted them as enqueued.
    update underway.stat_position p
    set counted_task = v_first - 1, observed_task = v_first - 1
    where p.only_row;

    return true;
end;
$$;

comment on function underway.set_shard(integer) is
    'Give this database its number among the shards of an application, 0 to 511, as `underway migrate --shard` does. Returns'
    ' whether it changed. Refused once a task, batch, worker or event has got an id. Only the owner of the schema may do it.';
