-- drop_queue: remove a queue; by force with its live tasks. Finished tasks stay in the history for their time; the
-- unique keys that they hold are free.
--
--   pending | waiting | in_progress -> cancelled
--
-- Writes: unique_reservation, ready_key, paused_key, token_bucket.
-- Raises: UW003 queue_not_found, UW006 queue_in_use.

create or replace function underway.drop_queue(name text, force boolean default false)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tasks bigint[];
begin
    perform from underway.queue q where q.name = drop_queue.name for update;
    if not found then
        perform underway._raise_queue_not_found(drop_queue.name);
    end if;

    if drop_queue.force is not true and exists (select from underway.task t where t.queue = drop_queue.name) then
        raise exception using
            errcode = 'UW006',
            message = format('queue %L still has live tasks', drop_queue.name),
            hint = format(
                'Let them finish, or cancel them with the queue: select underway.drop_queue(%L, force => true);',
                drop_queue.name
            );
    end if;

    v_tasks := array(
        select t.id from underway.task t where t.queue = drop_queue.name order by t.id for update
    );
    perform underway._conclude(v_tasks, null, 'cancelled');

    -- In a queue of that name that is made anew no key is held or paused, and the bucket is full.
    delete from underway.unique_reservation h where h.queue = drop_queue.name;
    delete from underway.ready_key f where f.queue = drop_queue.name;
    delete from underway.paused_key p where p.queue = drop_queue.name;
    delete from underway.token_bucket b where b.queue = drop_queue.name;
    perform underway._remove_queue(drop_queue.name);
end;
$$;

comment on function underway.drop_queue(text, boolean) is
    'Remove a queue. With force its live tasks are cancelled; without, a queue that has any is refused.';
