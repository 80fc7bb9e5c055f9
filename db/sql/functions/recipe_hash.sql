-- The hash that names a mixture: SHA-256, in hex, over one line per fact: merge, calibrated, density, dtype, and for each
-- component, in order, its content hash and weight. Numbers stand as the 16 hex digits of their IEEE 754 double.
-- `components` is an array of objects with sha256 and weight, as in the mixture of route_jobs.
-- Locks: none. Raises: nothing.
create or replace function loradex.recipe_hash(
    merge text, calibrated boolean, density float8, dtype text, components jsonb
) returns text
language sql immutable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select encode(sha256(convert_to(
        format(E'merge %s\ncalibrated %s\ndensity %s\ndtype %s\n', recipe_hash.merge, calibrated::text,
            encode(float8send(density), 'hex'), dtype)
        || coalesce(string_agg(
            format(E'%s %s\n', c.part ->> 'sha256', encode(float8send((c.part ->> 'weight')::float8), 'hex')), ''
            order by c.place), ''), 'UTF8')), 'hex')
    from jsonb_array_elements(components) with ordinality c(part, place)
$$;
comment on function loradex.recipe_hash(text, boolean, float8, text, jsonb) is
    'SHA-256 (hex) that names a mixture: of its merge, density, dtype, and its adapters with their weights.';
revoke execute on function loradex.recipe_hash(text, boolean, float8, text, jsonb) from public;
grant execute on function loradex.recipe_hash(text, boolean, float8, text, jsonb)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
