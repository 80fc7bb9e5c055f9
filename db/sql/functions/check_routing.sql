-- Refuses routing settings outside their ranges. Null counts as outside; where nobody gave a value, its caller gives one
-- that every range holds: 1, and for top_p 1e-300.
-- Locks: none. Raises: LX001 bad number; LX002 unknown task, base model or adapter.
create or replace function loradex.check_routing(
    k int,
    top_p float8,
    temperature float8,
    exclude_tasks text[] default '{}',
    base_model text default null,
    exclude_adapters text[] default '{}'
) returns void
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    stranger text;
begin
    -- NaN and infinity sort above every number in Postgres, so these comparisons find them too.
    if k is null or top_p is null or temperature is null or temperature > 1e300 or exists (
        select from settings s
        where s.name in ('k', 'top_p', 'temperature')
          and (case s.name when 'k' then k when 'top_p' then top_p else temperature end) not between
              coalesce(s.minimum, s.above)::float8 and coalesce(s.maximum::float8, 'infinity')
           or (s.name = 'top_p' and top_p <= s.above::float8)
           or (s.name = 'temperature' and temperature <= s.above::float8))
    then
        -- The one who words it; nulls are no JSON numbers, as they should be.
        perform check_settings(json_build_array(json_build_object(
            'k', coalesce(to_json(k), '""'), 'top_p', coalesce(to_json(top_p), '""'),
            'temperature', coalesce(to_json(temperature), '""'))));
    end if;
    if exclude_tasks is null or exclude_adapters is null then
        raise exception using errcode = 'LX001', message =
            'exclude_tasks and exclude_adapters must be arrays; give ''{}'' to exclude nothing';
    end if;
    perform check_names('exclude_tasks', exclude_tasks), check_names('exclude_adapters', exclude_adapters);
    if cardinality(exclude_tasks) > 0 then
        select given.name into stranger from unnest(exclude_tasks) given(name)
        where not exists (select from tasks t where t.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_tasks names no task %s; known are those of loradex.tasks',
                shown(stranger));
        end if;
    end if;
    if base_model is not null
       and not exists (select from base_models b where b.name = check_routing.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %s; known are: %s', shown(base_model),
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none'));
    end if;
    if cardinality(exclude_adapters) > 0 then
        select given.name into stranger from unnest(exclude_adapters) given(name)
        where not exists (select from adapters a where a.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_adapters names no adapter %s; known are those of loradex.adapters',
                shown(stranger));
        end if;
    end if;
end
$$;
comment on function loradex.check_routing(int, float8, float8, text[], text, text[]) is
    'Raises LX001 or LX002 unless the routing settings are in range and name what exists.';
revoke execute on function loradex.check_routing(int, float8, float8, text[], text, text[]) from public;
grant execute on function loradex.check_routing(int, float8, float8, text[], text, text[])
    to loradex_reader, loradex_worker, loradex_admin;
