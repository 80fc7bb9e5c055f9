-- Keeps which modules of a base model an adapter may change, with the sizes of their weights as [d_out, d_in], as
-- whoever read the model saw them. What is told later counts; adapters that are registered stay as they are.
-- Locks: its row. Raises: LX001 bad value, or another revision; LX002 unknown base model.
create or replace function loradex.describe_base_model(name text, revision text, modules jsonb) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known base_models;
begin
    if coalesce(jsonb_typeof(modules), '') <> 'object' or octet_length(modules::text) > 4000000
       or modules = '{}' or exists (
           select from jsonb_each(modules) m(module, size)
           where jsonb_path_match(m.size, 'strict exists($ ? (@.size() == 2 && @[0] > 0 && @[1] >= 0))', '{}', true) is not true
       ) then
        raise exception using errcode = 'LX001', message =
            'modules is an object of at most 4,000,000 bytes that gives [d_out, d_in] for each module, of a norm 0 for d_in';
    end if;
    select m.* into known from base_models m where m.name = describe_base_model.name;
    if not found then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(name),
            coalesce((select string_agg(m.name, ', ' order by m.name) from base_models m), 'none yet'));
    end if;
    if known.revision is distinct from revision then
        raise exception using errcode = 'LX001', message = format(
            'base model %s is known at revision %s, not %s', name, known.revision, shown(revision));
    end if;
    update base_models m set modules = describe_base_model.modules
    where m.name = describe_base_model.name and m.modules is distinct from describe_base_model.modules;
end
$$;
comment on function loradex.describe_base_model(text, text, jsonb) is
    'Keeps which modules of a base model an adapter may change, with the sizes of their weights.';
revoke execute on function loradex.describe_base_model(text, text, jsonb) from public;
grant execute on function loradex.describe_base_model(text, text, jsonb) to loradex_worker, loradex_admin;
