-- What the texts of examples are, in 32 bytes: SHA-256 over their content hashes in the order of the ids, one per line. An
-- example that is gone counts as an empty line.
-- Locks: none. Raises: nothing.
create or replace function loradex.examples_hash(example_ids bigint[]) returns bytea
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select sha256(convert_to(coalesce(string_agg(coalesce(x.sha256, '') || E'\n', '' order by i.place), ''), 'UTF8'))
    from unnest(example_ids) with ordinality i(id, place)
    left join examples x on x.id = i.id
$$;
comment on function loradex.examples_hash(bigint[]) is
    'SHA-256 over the content hashes of examples, in order: what their texts are.';
revoke execute on function loradex.examples_hash(bigint[]) from public;
grant execute on function loradex.examples_hash(bigint[])
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
