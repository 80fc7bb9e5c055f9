-- The hash that binds a claim, or an announcement, to whoever made it: the login of this session, and the worker's secret
-- token where it has one. Only the hash is kept, so who can read it cannot use it.
-- Locks: none. Raises: LX001 a token that is too short or too long.
create or replace function loradex.claim_hash(token text) returns bytea
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if length(token) not between 32 and 200 then
        raise exception using errcode = 'LX001', message =
            'a worker''s token has 32 to 200 characters; make a random one at each start';
    end if;
    return sha256(convert_to(format('%s:%s', session_user, token), 'UTF8'));
end
$$;
comment on function loradex.claim_hash(text) is
    'Hash of this session''s login and a worker''s token; internal.';
revoke execute on function loradex.claim_hash(text) from public;
