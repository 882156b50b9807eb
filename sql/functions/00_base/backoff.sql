-- backoff: the delay before the next attempt.
--
--   target = min(initial_interval * factor ^ (attempt - 1), max_interval)
--   delay  is uniform in [target * (1 - jitter), target]
--
-- Writes: nothing.
-- Calls: _check_retry_policy.
-- Raises: UW001 invalid_argument.

create or replace function underway._backoff_target(policy underway.retry_policy, attempt integer)
returns interval
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_initial double precision := extract(epoch from (_backoff_target.policy).initial_interval);
    v_max     double precision := extract(epoch from (_backoff_target.policy).max_interval);
    v_factor  double precision := (_backoff_target.policy).factor;
begin
    -- The power is computed only if it stays below the cap, so it never overflows.
    return make_interval(secs => case
        when v_initial >= v_max then v_max
        when v_initial = 0 then 0
        when v_factor = 1 then v_initial
        when _backoff_target.attempt - 1 >= ln(v_max / v_initial) / ln(v_factor) then v_max
        else v_initial * v_factor ^ (_backoff_target.attempt - 1)
    end);
end;
$$;

comment on function underway._backoff_target(underway.retry_policy, integer) is
    'The delay after the given attempt before jitter is subtracted.';

create or replace function underway.backoff(policy underway.retry_policy, attempt integer)
returns interval
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform underway._check_retry_policy(backoff.policy);
    if backoff.attempt < 1 then
        raise exception using
            errcode = 'UW001',
            message = format('attempt is %s', backoff.attempt),
            hint = 'Attempts are numbered from 1.';
    end if;

    return underway._backoff_target(backoff.policy, backoff.attempt) * (1 - (backoff.policy).jitter * random());
end;
$$;

comment on function underway.backoff(underway.retry_policy, integer) is
    'The delay after the given attempt, numbered from 1, has failed under a retry policy; random within its jitter.';
