-- The neighbours of every request by looking at every vector of the allowed tasks; slow and exact.
-- search_examples falls back on it when the index stops short, tests and benchmarks measure recall against it.
-- The requests must have been checked. Locks: none. Raises: nothing of its own.
create or replace function loradex.search_exactly(requests loradex.route_request[], encoder text, dimensions int)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    neighbours neighbour[];
begin
    -- Adding 0 to the distance keeps the planner away from the index over it.
    execute format(
        $q$
        select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, n.similarity)::neighbour)
        from (
            select r.ordinal, e.example_id, e.task, 1 - e.distance as similarity,
                   (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
            from unnest($1) r
            cross join lateral (
                select x.example_id, x.task, (x.embedding::vector(%2$s) <=> r.query::vector(%2$s)) + 0 as distance
                from example_embeddings x
                where x.encoder = %1$L
                  and x.task = any (array(select t.name from tasks t where t.name <> all (r.exclude_tasks)))
                order by distance, x.example_id
                limit r.k
            ) e
        ) n
        $q$,
        encoder, dimensions)
    using requests into neighbours;
    return coalesce(neighbours, '{}');
end
$$;
comment on function loradex.search_exactly(loradex.route_request[], text, int) is
    'Neighbours of every request by looking at every vector of the allowed tasks: exact; internal.';
revoke execute on function loradex.search_exactly(loradex.route_request[], text, int) from public;
grant execute on function loradex.search_exactly(loradex.route_request[], text, int)
    to loradex_reader, loradex_worker, loradex_admin;
