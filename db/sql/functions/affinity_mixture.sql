-- The adapters the affinity methods take for a query: those measured to answer best where its neighbours come from,
-- with their share before the nucleus is cut (mass) and weights that sum to 1, heaviest first; no rows if nothing is
-- near or allowed. Of adapters that share a task, the one that `job_id` draws is taken; without a job, the one with the
-- largest share.
-- Locks: none. Raises: LX001 bad setting; LX002 unknown encoder, base model, task or adapter; LX005 bad vector.
create or replace function loradex.affinity_mixture(
    query public.vector,
    base_model text,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}',
    exclude_adapters text[] default '{}',
    job_id uuid default null
) returns table (
    rank int, adapter_id bigint, adapter text, task text, sha256 text, mass float8, weight float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters,
                                  job_id);
    neighbours neighbour[];
begin
    if base_model is null then
        raise exception using errcode = 'LX002', message = 'base_model is null; name one of loradex.base_models';
    end if;
    perform check_routing(k, top_p, temperature, exclude_tasks, base_model, exclude_adapters);
    perform check_vector(query, encoder);
    neighbours := search_examples(array[request], encoder);
    return query
    select m.rank, m.adapter_id, m.adapter, m.task, m.sha256, m.mass, m.weight
    from mix_affinities(array[request], neighbours) m
    order by m.rank;
end
$$;
comment on function loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) is
    'Adapters measured to answer best where the query''s neighbours come from, with weights that sum to 1.';
revoke execute on function
    loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid) from public;
grant execute on function loradex.affinity_mixture(public.vector, text, int, float8, float8, text, text[], text[], uuid)
    to loradex_reader, loradex_worker, loradex_admin;
