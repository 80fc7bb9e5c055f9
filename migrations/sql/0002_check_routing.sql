-- Refuses routing settings outside their ranges. Null counts as outside.
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
    if k is null or k not between 1 and 1000 then
        raise exception using errcode = 'LX001', message = format(
            'k is %s; ask for 1 to 1000 neighbours', coalesce(k::text, 'null'));
    end if;
    -- NaN sorts above every number in Postgres, so these comparisons refuse it too.
    if top_p is null or not (top_p > 0 and top_p <= 1) then
        raise exception using errcode = 'LX001', message = format(
            'top_p is %s; give a share above 0 and at most 1', coalesce(top_p::text, 'null'));
    end if;
    if temperature is null or not (temperature > 0 and temperature < 'infinity') then
        raise exception using errcode = 'LX001', message = format(
            'temperature is %s; give a finite number above 0', coalesce(temperature::text, 'null'));
    end if;
    if exclude_tasks is null or exclude_adapters is null then
        raise exception using errcode = 'LX001', message =
            'exclude_tasks and exclude_adapters must be arrays; give ''{}'' to exclude nothing';
    end if;
    if cardinality(exclude_tasks) > 0 then
        select given.name into stranger from unnest(exclude_tasks) given(name)
        where not exists (select from tasks t where t.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_tasks names no task %s; known are those of loradex.tasks',
                coalesce(quote_literal(stranger), 'null'));
        end if;
    end if;
    if base_model is not null
       and not exists (select from base_models b where b.name = check_routing.base_model) then
        raise exception using errcode = 'LX002', message = format(
            'no base model %L; known are: %s', base_model,
            coalesce((select string_agg(b.name, ', ' order by b.name) from base_models b), 'none'));
    end if;
    if cardinality(exclude_adapters) > 0 then
        select given.name into stranger from unnest(exclude_adapters) given(name)
        where not exists (select from adapters a where a.name = given.name) limit 1;
        if found then
            raise exception using errcode = 'LX002', message = format(
                'exclude_adapters names no adapter %s; known are those of loradex.adapters',
                coalesce(quote_literal(stranger), 'null'));
        end if;
    end if;
end
$$;
comment on function loradex.check_routing(int, float8, float8, text[], text, text[]) is
    'Raises LX001 or LX002 unless the routing settings are in range and name what exists.';
revoke execute on function loradex.check_routing(int, float8, float8, text[], text, text[]) from public;
grant execute on function loradex.check_routing(int, float8, float8, text[], text, text[])
    to loradex_reader, loradex_worker, loradex_admin;
