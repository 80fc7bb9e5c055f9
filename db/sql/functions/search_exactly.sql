-- The neighbours of every request by looking at every vector of the allowed tasks; slow and exact.
-- search_examples falls back on it where the index would not do, tests and benchmarks measure recall against it. No
-- index is over whole vectors, so no plan of it can be inexact.
-- The requests must have been checked. Locks: none. Raises: nothing of its own.
create or replace function loradex.search_exactly(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return array(
        select row(r.ordinal, row_number() over (partition by r.ordinal order by e.distance, e.example_id), e.example_id,
                   e.task, 1 - e.distance)::neighbour
        from unnest(requests) r
        cross join lateral (
            select x.example_id, x.task, x.embedding <=> r.query as distance
            from example_embeddings x
            where x.encoder = search_exactly.encoder
              and x.task = any (array(select t.name from tasks t where t.name <> all (r.exclude_tasks)))
            order by distance, x.example_id
            limit r.k
        ) e);
end
$$;
comment on function loradex.search_exactly(loradex.route_request[], text) is
    'Neighbours of every request by looking at every vector of the allowed tasks: exact; internal.';
revoke execute on function loradex.search_exactly(loradex.route_request[], text) from public;
grant execute on function loradex.search_exactly(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;
