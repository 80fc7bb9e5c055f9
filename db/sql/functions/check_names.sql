-- Refuses a list of names that is longer than the setting of that name allows, or holds a name twice. That the names
-- exist is the caller's to check.
-- Locks: none. Raises: LX001.
create or replace function loradex.check_names(setting text, names text[]) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(cardinality(names), 0) < 2 then
        return;
    end if;
    if cardinality(names) > (select s.maximum from settings s where s.name = setting) then
        raise exception using errcode = 'LX001', message = format(
            '%s has %s names; give at most %s', setting, cardinality(names),
            (select s.maximum from settings s where s.name = setting));
    end if;
    if (select count(distinct n) from unnest(names) n) < cardinality(names) then
        raise exception using errcode = 'LX001', message = format('%s names the same twice; give each once', setting);
    end if;
end
$$;
comment on function loradex.check_names(text, text[]) is
    'Raises LX001 for a list of names that is too long or holds a name twice; internal.';
revoke execute on function loradex.check_names(text, text[]) from public;
grant execute on function loradex.check_names(text, text[]) to loradex_reader, loradex_worker, loradex_admin;
