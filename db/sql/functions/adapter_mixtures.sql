-- What adapter_mixture says, for many queries in one statement: `ordinal` is the place of the query, from 1. From 32
-- queries on several processes search, so 64 take less than half the time of 64 calls. Of adapters that share a task it
-- takes the one with the largest share.
-- Locks: none. Raises: LX001 bad setting, or null for the queries; LX002 unknown encoder, base model, task or adapter;
-- LX005 bad vector.
create or replace function loradex.adapter_mixtures(
    queries public.vector[],
    base_model text,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}',
    exclude_adapters text[] default '{}'
) returns table (ordinal int, rank int, adapter_id bigint, adapter text, task text, sha256 text, weight float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    requests route_request[];
    neighbours neighbour[];
begin
    if queries is null then
        raise exception using errcode = 'LX001', message = 'queries is null; give an array of vectors';
    end if;
    if base_model is null then
        raise exception using errcode = 'LX002', message = 'base_model is null; name one of loradex.base_models';
    end if;
    perform check_routing(k, top_p, temperature, exclude_tasks, base_model, exclude_adapters);
    perform check_vector(q.query, encoder) from unnest(queries) q(query);
    select array_agg(row(q.place, q.query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters,
                         null)::route_request order by q.place)
    into requests
    from unnest(queries) with ordinality q(query, place);
    if requests is null then
        return;
    end if;
    neighbours := search_examples(requests, encoder);
    return query
    select m.ordinal, (row_number() over (partition by m.ordinal order by m.rank))::int, m.adapter_id, m.adapter,
           m.task, m.sha256, m.weight
    from mix_neighbours(requests, neighbours) m
    where m.in_nucleus
    order by m.ordinal, m.rank;
end
$$;
comment on function loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[]) is
    'Adapters that answer each of many queries, with weights that sum to 1, heaviest first.';
revoke execute on function
    loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[]) from public;
grant execute on function loradex.adapter_mixtures(public.vector[], text, int, float8, float8, text, text[], text[])
    to loradex_reader, loradex_worker, loradex_admin;
