-- Refuses what the API key of this transaction may not do, and a setting loradex.tenant that authenticate did not make. A
-- session that showed no key may do what its role may.
-- Locks: none. Raises: LX011 no seal of this transaction; 42501 the key may not do that.
create or replace function loradex.check_scope(scope text) returns void
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    tenant text := coalesce(current_setting('loradex.tenant', true), '');
begin
    if tenant = '' then
        return;
    end if;
    if current_owner() is null then
        raise exception using errcode = 'LX011', message =
            'this transaction acts for nobody: call loradex.authenticate in it, with a key';
    end if;
    if not coalesce(scope = any (string_to_array(split_part(tenant, ' ', 2), ',')), false) then
        raise exception using errcode = '42501', message = format(
            'this key may %s, not %s', split_part(tenant, ' ', 2), shown(scope));
    end if;
end
$$;
comment on function loradex.check_scope(text) is
    'Raises LX011 or 42501 if the API key of this transaction may not do that; internal.';
revoke execute on function loradex.check_scope(text) from public;
