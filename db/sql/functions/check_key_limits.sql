-- Refuses limits of an API key that are out of their range; null is no limit.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_key_limits(requests_a_minute int, max_waiting int) returns void
language plpgsql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if requests_a_minute not between 1 and 1000000 or max_waiting not between 1 and 100000000 then
        raise exception using errcode = 'LX001', message =
            'a key may make 1 to 1000000 requests a minute and have 1 to 100000000 jobs waiting; null is no limit';
    end if;
end
$$;
comment on function loradex.check_key_limits(int, int) is 'Raises LX001 for limits of a key out of range; internal.';
revoke execute on function loradex.check_key_limits(int, int) from public;
