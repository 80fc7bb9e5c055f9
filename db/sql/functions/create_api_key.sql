-- Makes an API key for an owner, who is made too if there is none of that name yet. Owners of keys are no logins, whatever
-- their names: their role is 0, which no role has. The caller makes the key, 32 random bytes or more, and tells its hash
-- alone. Returns the key's id.
-- Locks: none. Raises: LX001 no owner, name or hash, unknown scopes, an end that has passed, a limit out of its range, a key that
-- is there already.
create or replace function loradex.create_api_key(
    owner text, name text, key_hash bytea, scopes text[] default '{ask}', expires_at timestamptz default null,
    requests_a_minute int default null, max_waiting int default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    longest constant int := 100;
    made bigint;
begin
    if coalesce(create_api_key.owner, '') !~ '^[[:graph:]]+$' or length(create_api_key.owner) > longest then
        raise exception using errcode = 'LX001', message = format(
            'the owner %s is no name; give 1 to %s characters without blanks', shown(create_api_key.owner), longest);
    end if;
    if coalesce(create_api_key.name, '') !~ '\S' or length(create_api_key.name) > longest then
        raise exception using errcode = 'LX001', message = format('give the key a name of 1 to %s characters', longest);
    end if;
    if create_api_key.key_hash is null or octet_length(create_api_key.key_hash) <> 32 then
        raise exception using errcode = 'LX001', message = 'give the SHA-256 of the key, which has 32 bytes';
    end if;
    if coalesce(cardinality(create_api_key.scopes), 0) = 0 or array_position(create_api_key.scopes, null) is not null
       or not create_api_key.scopes <@ array['ask', 'read'] then
        raise exception using errcode = 'LX001', message = 'a key may ask or read; give one or both as scopes';
    end if;
    if create_api_key.expires_at <= now() then
        raise exception using errcode = 'LX001', message = 'the key would have expired already; give a later end';
    end if;
    perform check_key_limits(create_api_key.requests_a_minute, create_api_key.max_waiting);
    insert into owners (name, role) values (create_api_key.owner, 0) on conflict do nothing;
    insert into api_keys (
        owner_id, name, key_hash, scopes, created_by, expires_at, requests_a_minute, max_waiting)
    values (
        (select o.id from owners o where o.name = create_api_key.owner and o.role = 0), create_api_key.name,
        create_api_key.key_hash, array(select distinct s from unnest(create_api_key.scopes) s order by s), session_user,
        create_api_key.expires_at, create_api_key.requests_a_minute, create_api_key.max_waiting)
    on conflict (key_hash) do nothing
    returning id into made;
    if made is null then
        raise exception using errcode = 'LX001', message = 'this key is there already; make another';
    end if;
    return made;
end
$$;
comment on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) is
    'Makes an API key of this hash for an owner; returns its id.';
revoke execute on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) from public;
grant execute on function loradex.create_api_key(text, text, bytea, text[], timestamptz, int, int) to loradex_admin;
