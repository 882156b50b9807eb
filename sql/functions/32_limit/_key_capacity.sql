-- _key_capacity: how many more tasks of a concurrency key may start now, minus `taken`, those that this claim has chosen.
--
-- A plain SQL function without settings of its own, so that it is inlined.
--
-- Writes: nothing.
-- Calls: _available_tokens.

create or replace function underway._key_capacity(queue underway.queue, key text, taken bigint, now timestamptz)
returns setof integer
language sql
stable
rows 1
begin atomic
    select case
        when (
            select true
            from underway.paused_key p
            where p.queue = (_key_capacity.queue).name
              and p.concurrency_key = _key_capacity.key
            limit 1
        ) then 0
        else least(
            case when (_key_capacity.queue).max_running_per_key is not null then
                (_key_capacity.queue).max_running_per_key - (
                    select count(*)
                    from (
                        select
                        from underway.task t
                        where t.queue = (_key_capacity.queue).name
                          and t.holds_slot = (_key_capacity.queue).has_slots
                          and t.concurrency_key = _key_capacity.key
                          and not t.parked
                          and t.state = 'in_progress'
                        limit (_key_capacity.queue).max_running_per_key
                    ) running
                )
            end,
            case when (_key_capacity.queue).rate_limit_per_key is not null then
                floor(underway._available_tokens(_key_capacity.queue, _key_capacity.now, _key_capacity.key))
            end
        )::integer - _key_capacity.taken::integer
    end;
end;

comment on function underway._key_capacity(underway.queue, text, bigint, timestamptz) is
    'How many more tasks of a concurrency key may start now: 0 or less when the key is full, paused or out of tokens.';
