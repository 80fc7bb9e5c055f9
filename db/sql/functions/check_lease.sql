-- Refuses a lease that is none or longer than the setting max_lease_seconds, and another time than now from whoever may
-- not act as the owner of the schema: a worker's clock decides nothing, tests may.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_lease(lease interval, moment timestamptz) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    longest int := (select s.value from settings s where s.name = 'max_lease_seconds');
begin
    if lease is null or not isfinite(lease) or lease <= interval '0' or extract(epoch from lease) > longest then
        raise exception using errcode = 'LX001', message = format(
            'a lease is longer than 0 and at most %s s (setting max_lease_seconds)', longest);
    end if;
    if moment is distinct from now() and not pg_has_role(
        session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member') then
        raise exception using errcode = 'LX001', message = 'the time is the database''s to say; leave now out';
    end if;
end
$$;
comment on function loradex.check_lease(interval, timestamptz) is
    'Raises LX001 for a lease that is too long, or a time that is not now; internal.';
revoke execute on function loradex.check_lease(interval, timestamptz) from public;
