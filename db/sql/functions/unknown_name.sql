-- What is said of a name that nobody knows, or of the first such of a list, given for a setting that names rows of a
-- table; null: all are known.
-- Locks: none. Raises: nothing.
create or replace function loradex.unknown_name(setting loradex.settings, given json) returns text
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return (
        select format('%s names no %s %s; known are: %s', setting.name, rtrim(setting.names, 's'), shown(one), coalesce((
            select string_agg(k.name, ', ' order by k.name) from (
                select m.name from methods m where setting.names = 'methods'
                union select b.name from base_models b where setting.names = 'base_models' and b.retired_at is null
                union select e.name from encoders e where setting.names = 'encoders' and e.retired_at is null
                union select t.name from tasks t where setting.names = 'tasks'
                union select a.name from adapters a where setting.names = 'adapters'
                order by name limit 50) k), 'none yet'))
        from json_array_elements_text(
            case setting.type when 'texts' then given else json_build_array(given) end) one
        where not case setting.names
            when 'methods' then exists (select from methods m where m.name = one)
            when 'base_models' then exists (select from base_models b where b.name = one and b.retired_at is null)
            when 'encoders' then exists (select from encoders e where e.name = one and e.retired_at is null)
            when 'tasks' then exists (select from tasks t where t.name = one)
            when 'adapters' then exists (select from adapters a where a.name = one)
            end
        limit 1);
end
$$;
comment on function loradex.unknown_name(loradex.settings, json) is
    'What is said of a name given for a setting that nobody knows; null: all are known; internal.';
revoke execute on function loradex.unknown_name(loradex.settings, json) from public;
grant execute on function loradex.unknown_name(loradex.settings, json) to loradex_reader, loradex_worker, loradex_admin;
