-- _check_dead_letter_queue: refuse a dead-letter queue that does not exist or from which dead letters would come back.
--
-- Writes: nothing.
-- Calls: _raise_queue_not_found.
-- Raises: UW001 invalid_argument, UW003 queue_not_found.

create or replace function underway._check_dead_letter_queue(queue text, dead_letter_queue text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_next text := _check_dead_letter_queue.dead_letter_queue;
begin
    while v_next is not null loop
        if v_next = _check_dead_letter_queue.queue then
            raise exception using
                errcode = 'UW001',
                message = format(
                    'queue %L cannot have the dead-letter queue %L: its dead letters would come back to it',
                    _check_dead_letter_queue.queue, _check_dead_letter_queue.dead_letter_queue
                ),
                hint = 'Choose a queue whose own dead-letter queues do not lead back here.';
        end if;

        select q.dead_letter_queue into v_next from underway.queue q where q.name = v_next;

        if not found then
            perform underway._raise_queue_not_found(_check_dead_letter_queue.dead_letter_queue);
        end if;
    end loop;
end;
$$;

comment on function underway._check_dead_letter_queue(text, text) is
    'Refuse a dead-letter queue that does not exist or from which dead letters would come back.';
