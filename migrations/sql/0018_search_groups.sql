-- The neighbours of every request by looking at one example of each group of near duplicates, and into the nearest
-- groups: what search_exactly finds, where nothing is grouped; else nearly that, without looking at a thousand copies.
-- search_examples calls it in a large table for requests that exclude most of it.
-- The requests must have been checked. Locks: none. Raises: nothing of its own.
create or replace function loradex.search_groups(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return array(
        select row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour
        from (
            select r.ordinal, r.k, e.*,
                   (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
            from unnest(requests) r
            cross join lateral (
                select o.*
                from (
                    select x.example_id, x.task, x.embedding <=> r.query as distance
                    from example_embeddings x
                    where x.encoder = search_groups.encoder and x.duplicate_of is null
                      and x.task = any (array(select t.name from tasks t where t.name <> all (r.exclude_tasks)))
                    order by distance, x.example_id
                    limit greatest(32, 2 * r.k)
                ) one
                cross join lateral (
                    select one.example_id, one.task, one.distance
                    union all
                    select x.example_id, x.task, x.embedding <=> r.query
                    from example_embeddings x
                    where x.encoder = search_groups.encoder and x.duplicate_of = one.example_id
                ) o
                -- As search_vectors has it.
                limit greatest(256, 8 * r.k)
            ) e
        ) n
        where n.rank <= n.k);
end
$$;
comment on function loradex.search_groups(loradex.route_request[], text) is
    'Neighbours of every request by looking at one example of each group of near duplicates; internal.';
revoke execute on function loradex.search_groups(loradex.route_request[], text) from public;
grant execute on function loradex.search_groups(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;
