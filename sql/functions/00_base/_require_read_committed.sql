-- _require_read_committed: refuse a call in a repeatable read or serializable transaction.
--
-- Writes: nothing.
-- Calls: nothing.
-- Raises: UW001 invalid_argument.

create or replace function underway._require_read_committed(function text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using
            errcode = 'UW001',
            message = format(
                '%s needs the isolation level read committed; this transaction is %s',
                _require_read_committed.function, current_setting('transaction_isolation')
            ),
            hint = 'Its snapshot does not show what others commit. Begin the transaction with: '
                'begin isolation level read committed;';
    end if;
end;
$$;

comment on function underway._require_read_committed(text) is
    'Refuse a call of a function in a transaction whose snapshot does not show what others commit.';
