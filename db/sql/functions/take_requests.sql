-- Authenticates, and takes a share of the requests that this API key may make, for a server that counts them off by itself
-- and comes again when they are used up. So many servers agree on one limit, and a key costs at most 20 writes a minute
-- however much it is used. A key may make a minute's requests at once; they come back evenly. One row: the limit, how many
-- were granted (0: it must wait), how many are left here, and the seconds until all are back and until one is. Of a key
-- without a limit all are null, and nothing is written.
-- Locks: the key's own row of api_key_rates, until commit. Raises: as authenticate.
create or replace function loradex.take_requests(key text) returns table (
    requests_a_minute int, granted int, remaining int, full_in float8, next_in float8
)
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    shown constant bigint := authenticate(take_requests.key);
    most constant int := (select k.requests_a_minute from api_keys k where k.id = shown);
    now timestamptz;
    -- Seconds that one request takes to come back, and until all are back.
    each float8;
    missing float8;
begin
    if most is null then
        return query select null::int, null::int, null::int, null::float8, null::float8;
        return;
    end if;
    insert into api_key_rates (key_id, full_at) values (shown, clock_timestamp()) on conflict (key_id) do nothing;
    select extract(epoch from r.full_at - clock_timestamp()) into missing
    from api_key_rates r where r.key_id = shown for update;
    now := clock_timestamp();
    -- Anew, since another server may have had the row until now; and a limit that was raised gives its requests back.
    missing := least(60, greatest(0, (
        select extract(epoch from r.full_at - now) from api_key_rates r where r.key_id = shown)));
    each := 60.0 / most;
    remaining := floor((60 - missing) / each + 1e-6);
    granted := least(greatest(1, most / 20), remaining);
    remaining := remaining - granted;
    if granted > 0 then
        missing := missing + granted * each;
        update api_key_rates r set full_at = now + make_interval(secs => missing) where r.key_id = shown;
    end if;
    return query select most, granted, remaining, missing, greatest(0, missing - (60 - each));
end
$$;
comment on function loradex.take_requests(text) is
    'Authenticates, and takes a share of the requests an API key may make, for a server to count off.';
revoke execute on function loradex.take_requests(text) from public;
grant execute on function loradex.take_requests(text) to loradex_client;
