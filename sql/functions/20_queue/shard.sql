-- shard: the number of this database among those of an application that uses several.
--
-- The high bits of each id are the number. It is not stored twice: it is where the sequence of task ids starts.
--
-- Writes: nothing.
-- Calls: nothing.

create or replace function underway.shard()
returns integer
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select s.seqstart >> 44 from pg_sequence s where s.seqrelid = 'underway.task_id_seq'::regclass);
end;
$$;

comment on function underway.shard() is
    'The number of this database among the shards of an application, 0 to 511; 0 unless `underway migrate --shard` gave it'
    ' another. The ids of its tasks, batches, workers and events have this number in their high bits: id >> 44.';
