-- _lock_stretch: lock tasks to claim away from the head of a lane, where others are claiming.
--
-- What many claims hold at once lies at the head, and each that begins there passes over all of it. So a crowd shares a
-- front: who comes draws the next stretch, and the front moves behind it, for all to see at once. The front is a hint
-- and may be wrong; what lies before it is found by those who begin at the head.
--
-- Writes: nothing.

create or replace function underway._front(front integer, out ready_at timestamptz, out id bigint)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    _front.ready_at := timestamptz 'epoch' + interval '1 microsecond' * pg_sequence_last_value(
        ('underway.front_at_' || to_char(_front.front, 'FM00'))::regclass
    );
    _front.id := pg_sequence_last_value(('underway.front_id_' || to_char(_front.front, 'FM00'))::regclass);
end;
$$;

comment on function underway._front(integer) is 'The place to which a crowd has come; null while there was none.';

create or replace function underway._set_front(front integer, ready_at timestamptz, id bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform setval(
        ('underway.front_at_' || to_char(_set_front.front, 'FM00'))::regclass,
        (extract(epoch from _set_front.ready_at) * 1000000)::bigint
    );
    perform setval(('underway.front_id_' || to_char(_set_front.front, 'FM00'))::regclass, _set_front.id);
end;
$$;

comment on function underway._set_front(integer, timestamptz, bigint) is 'Note the place to which a crowd has come.';

create or replace function underway._lock_stretch(
    lane underway.queue_priority,
    floor timestamptz,
    now timestamptz,
    max_tasks integer
)
returns tid[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_front record;
    v_at    timestamptz := _lock_stretch.floor; -- where the stretch begins
    v_id    bigint := 0;
    v_remaining  integer := _lock_stretch.max_tasks;
    v_rows  tid[];
    v_times timestamptz[];
    v_ids   bigint[];
    v_all   tid[] := '{}';
begin
    loop
        -- Whoever is overtaken between the look and the note looks again; after ten times it shares a stretch.
        for v_try in 1..10 loop
            v_front := underway._front((_lock_stretch.lane).front);
            if (v_front.ready_at, v_front.id) >= (v_at, v_id) then
                v_at := v_front.ready_at;
                v_id := v_front.id + 1;
            end if;

            select array_agg(stretch.ctid), array_agg(stretch.ready_at), array_agg(stretch.id)
            into v_rows, v_times, v_ids
            from (
                select ready.ctid, ready.ready_at, ready.id
                from underway.task ready
                where ready.queue = (_lock_stretch.lane).queue
                  and ready.priority = (_lock_stretch.lane).priority
                  and (ready.ready_at, ready.id) >= (v_at, v_id)
                  and ready.ready_at <= _lock_stretch.now
                  and ready.state = 'pending'
                  and not ready.parked
                order by ready.ready_at, ready.id
                limit v_remaining
            ) stretch;

            -- At the end of the lane there is nothing to draw from.
            exit when coalesce(cardinality(v_rows), 0) < v_remaining;
            v_front := underway._front((_lock_stretch.lane).front);
            if ((v_front.ready_at, v_front.id) < (v_times[v_remaining], v_ids[v_remaining])) is not false then
                perform underway._set_front((_lock_stretch.lane).front, v_times[v_remaining], v_ids[v_remaining]);
                exit;
            end if;
        end loop;

        -- In the place of a row that was seen there may be another by now. A case, which no index takes for its own.
        v_all := v_all || array(
            select t.ctid
            from underway.task t
            where t.ctid = any (v_rows)
              and case
                  when t.state = 'pending' and not t.parked and t.concurrency_key is null
                      then (t.queue, t.priority) = ((_lock_stretch.lane).queue, (_lock_stretch.lane).priority)
                          and t.ready_at <= _lock_stretch.now
              end
            for no key update skip locked
        );
        exit when coalesce(cardinality(v_rows), 0) < v_remaining or cardinality(v_all) = _lock_stretch.max_tasks;

        v_at := v_times[v_remaining];
        v_id := v_ids[v_remaining] + 1;
        v_remaining := _lock_stretch.max_tasks - cardinality(v_all);
    end loop;

    return v_all;
end;
$$;

comment on function underway._lock_stretch(underway.queue_priority, timestamptz, timestamptz, integer) is
    'Lock at most so many ready tasks of a lane that nobody else holds or has drawn. Returns fewer when the lane has no'
    ' more behind its front. Waits for nobody.';
