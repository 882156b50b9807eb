-- _delete_limits: delete what the limits of a dropped queue have stored: reserved unique keys, paused and ready keys, tokens.
--
-- Writes: unique_reservation, ready_key, paused_key, token_bucket.
-- Calls: nothing.

create or replace function underway._delete_limits(queue text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from underway.unique_reservation r where r.queue = _delete_limits.queue;
    delete from underway.ready_key k where k.queue = _delete_limits.queue;
    delete from underway.paused_key k where k.queue = _delete_limits.queue;
    delete from underway.token_bucket b where b.queue = _delete_limits.queue;
end;
$$;

comment on function underway._delete_limits(text) is
    'Delete the reserved unique keys, the state of the concurrency keys and the tokens of a queue.';
