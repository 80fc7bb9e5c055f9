-- What whoever waits for a job is told when it is past its deadline.
-- Locks: none. Raises: nothing.
create or replace function loradex.expiry(deadline float8) returns text
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select format('it had no answer within its deadline of %s s', deadline)
$$;
comment on function loradex.expiry(float8) is 'The message of a job that is past its deadline.';
revoke execute on function loradex.expiry(float8) from public;
grant execute on function loradex.expiry(float8) to loradex_reader, loradex_client, loradex_worker, loradex_admin;
