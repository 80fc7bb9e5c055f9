-- Builds the index of an encoder if it is not there. A bulk load is several times faster with the index dropped
-- before (drop_encoder_index) and built after. Where near duplicates are grouped (group_duplicates, in a transaction
-- before this one) it holds one of each group.
-- The index holds half precision: measured on 32,566 vectors of MiniLM it finds as much (recall@32 0.989 for both),
-- in 36 MB instead of 64 MB, and a seventh faster. Similarities are computed from the whole vectors all the same.
-- 24 links instead of pgvector's 16, and candidates for each of them by the cube root of what is in it (128 at 10,000,
-- 600 at a million) instead of pgvector's 64; search_examples widens its search by the same root (docs/lab-log.md has
-- recall and building times).
-- A graph that does not fit into maintenance_work_mem (1.7 kB a vector of 384 dimensions) is built more slowly: 512 MB
-- are taken, or what the session has if that is more.
-- Locks: example_embeddings against writes while it builds; encoders against a registration.
-- Raises: LX002 unknown encoder.
create or replace function loradex.build_encoder_index(encoder text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    least_memory constant text := '512MB';
    memory constant text := current_setting('maintenance_work_mem');
    dimensions int := (select e.dimensions from encoders e where e.name = encoder);
    examples bigint;
    duplicates bigint;
begin
    if dimensions is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    if to_regclass(format('loradex.%I', encoder_index(encoder))) is not null then
        return;
    end if;
    if pg_size_bytes(memory) < pg_size_bytes(least_memory) then
        perform set_config('maintenance_work_mem', least_memory, true);
    end if;
    select count(*), count(x.duplicate_of) into examples, duplicates
    from example_embeddings x where x.encoder = build_encoder_index.encoder;
    execute format(
        'create index %I on example_embeddings using hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) '
        'with (m = 24, ef_construction = %s) where encoder = %L%s',
        encoder_index(encoder), dimensions,
        least(1000, greatest(128, 6 * cbrt((examples - duplicates)::float8)))::int, encoder,
        case when duplicates > 0 then ' and duplicate_of is null' end);
    perform set_config('maintenance_work_mem', memory, true);
    perform build_search();
end
$$;
comment on function loradex.build_encoder_index(text) is
    'Builds the HNSW index of an encoder if it is missing; of near duplicates that are grouped it holds one.';
revoke execute on function loradex.build_encoder_index(text) from public;
grant execute on function loradex.build_encoder_index(text) to loradex_admin;
