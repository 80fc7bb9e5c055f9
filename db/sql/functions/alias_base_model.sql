-- Makes another name of a base model known, for adapters whose configurations call it so. A name that meant another
-- model means this one from now on; adapters that are registered stay as they are.
-- Locks: the row of the name. Raises: LX001 bad name, or a base model's own; LX002 unknown base model.
create or replace function loradex.alias_base_model(alias text, base_model text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if coalesce(alias, '') !~ '^[^[:cntrl:]]{1,200}$' then
        raise exception using errcode = 'LX001', message =
            'an alias of a base model is 1 to 200 characters';
    end if;
    if not exists (select from base_models m where m.name = alias_base_model.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if exists (select from base_models m where lower(m.name) = lower(alias_base_model.alias)) then
        raise exception using errcode = 'LX001', message = format(
            '%s is a base model itself, and cannot mean another', shown(alias));
    end if;
    insert into base_model_aliases as a (alias, base_model)
    values (lower(alias_base_model.alias), alias_base_model.base_model)
    on conflict on constraint base_model_aliases_pkey do update set base_model = excluded.base_model;
end
$$;
comment on function loradex.alias_base_model(text, text) is
    'Makes another name of a base model known, for adapters whose configurations call it so.';
revoke execute on function loradex.alias_base_model(text, text) from public;
grant execute on function loradex.alias_base_model(text, text) to loradex_admin;
