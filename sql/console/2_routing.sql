-- The partitions of an id: that of its shard. Without an id those that `set underway.shards = 'eu,us'` names, else all.
create function underway._partitions(id bigint)
returns setof integer
language plpgsql
stable
as $$
declare
    v_chosen  text[] := string_to_array(nullif(replace(current_setting('underway.shards', true), ' ', ''), ''), ',');
    v_unknown text;
begin
    if id is null then
        select c.name into v_unknown
        from unnest(v_chosen) as c (name)
        where c.name not in (select s.name from underway.shard_list s);
        if found then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = format('underway.shards names the shard %s, which this console does not have', v_unknown),
                hint = 'underway.shard_list has the names of the shards.';
        end if;
        return query select s.partition from underway.shard_list s where v_chosen is null or s.name = any (v_chosen);
        return;
    end if;

    return query select s.partition from underway.shard_list s where s.shard = id >> 44;
    if not found then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('id %s belongs to shard %s, which this console does not have', id, id >> 44),
            hint = 'Add the shard to the file of `underway console --shards`.';
    end if;
end;
$$;

-- The partition of the one shard that is chosen.
create function underway._chosen_partition()
returns integer
language plpgsql
stable
as $$
declare
    v_partitions integer[] := array(select underway._partitions(null));
begin
    if cardinality(v_partitions) <> 1 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('a schedule belongs to one shard, and %s are chosen', cardinality(v_partitions)),
            hint = 'Choose one: set underway.shards = ''<name>''; underway.schedule_stats lists the schedules of all.';
    end if;
    return v_partitions[1];
end;
$$;
