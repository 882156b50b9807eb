-- retry_policy: build a retry policy from its parts; omitted parts have their defaults.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._check_retry_policy(policy underway.retry_policy)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_problem text;
begin
    v_problem := case
        when (_check_retry_policy.policy).max_attempts is null
          or (_check_retry_policy.policy).initial_interval is null
          or (_check_retry_policy.policy).max_interval is null
          or (_check_retry_policy.policy).factor is null
          or (_check_retry_policy.policy).jitter is null then 'every part must be given'
        when (_check_retry_policy.policy).max_attempts < 1 then 'max_attempts must be at least 1'
        when (_check_retry_policy.policy).initial_interval not between '0' and '100 years'
            then 'initial_interval must lie between 0 and 100 years'
        when (_check_retry_policy.policy).max_interval not between '0' and '100 years'
            then 'max_interval must lie between 0 and 100 years'
        when not (_check_retry_policy.policy).factor between 1 and 1e6 then 'factor must lie between 1 and 1000000'
        when not (_check_retry_policy.policy).jitter between 0 and 1 then 'jitter must lie between 0 and 1'
    end;

    if v_problem is not null then
        raise exception using
            errcode = 'UW001',
            message = format('retry policy %s: %s', _check_retry_policy.policy, v_problem),
            hint = 'Build it by name, for example underway.retry_policy(max_attempts => 5, initial_interval => ''1 s'').';
    end if;
end;
$$;

comment on function underway._check_retry_policy(underway.retry_policy) is
    'Refuse a retry policy with a part that is null or outside its bounds.';

create or replace function underway.retry_policy(
    max_attempts integer default 5,
    initial_interval interval default '1 second',
    max_interval interval default '60 seconds',
    factor double precision default 2.0,
    jitter double precision default 0.5
)
returns underway.retry_policy
language plpgsql
immutable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_policy underway.retry_policy := row(
        retry_policy.max_attempts, retry_policy.initial_interval, retry_policy.max_interval,
        retry_policy.factor, retry_policy.jitter
    );
begin
    perform underway._check_retry_policy(v_policy);
    return v_policy;
end;
$$;

comment on function underway.retry_policy(integer, interval, interval, double precision, double precision) is
    'Build a retry policy: the number of attempts, the first and the longest delay, the factor from one delay to the next,'
    ' and the part of a delay, from 0 to 1, that jitter may subtract.';
