-- Sets what an API key may do at most; null takes a limit away. Servers follow within a minute, the queue at once.
-- Locks: the key's row. Raises: LX001 a limit out of its range; LX002 no such key.
create or replace function loradex.limit_api_key(id bigint, requests_a_minute int, max_waiting int) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    perform check_key_limits(limit_api_key.requests_a_minute, limit_api_key.max_waiting);
    update api_keys k
    set requests_a_minute = limit_api_key.requests_a_minute, max_waiting = limit_api_key.max_waiting
    where k.id = limit_api_key.id;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no key %s; see `loradex key list`', coalesce(limit_api_key.id::text, 'null'));
    end if;
end
$$;
comment on function loradex.limit_api_key(bigint, int, int) is
    'Sets how many requests a minute and waiting jobs an API key may have; null is no limit.';
revoke execute on function loradex.limit_api_key(bigint, int, int) from public;
grant execute on function loradex.limit_api_key(bigint, int, int) to loradex_admin;
