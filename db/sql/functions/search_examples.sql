-- The neighbours of every request: the only place that compares vectors. One statement for all of them.
-- The requests must have been checked (check_vector, check_routing). Locks: none. Raises: nothing of its own.
--
-- The statement is built for each call because the index of an encoder is partial (its name) and over an expression
-- (its dimensions), and the planner must see both as constants. A scan of the index that stops short of k rows, as it
-- may when nearly everything is excluded, is repeated exactly, over the allowed tasks only.
create or replace function loradex.search_examples(requests loradex.route_request[], encoder text, dimensions int)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 100
set hnsw.iterative_scan = relaxed_order
set hnsw.max_scan_tuples = 100000
as $$
declare
    deepest int := (select max(r.k) from unnest(requests) r);
    excluding boolean := exists (select from unnest(requests) r where cardinality(r.exclude_tasks) > 0);
    neighbours neighbour[];
    short route_request[];
    statement text := $q$
        select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, n.similarity)::neighbour)
        from (
            select r.ordinal, e.example_id, e.task, 1 - e.distance as similarity, r.k,
                   (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
            from unnest($1) r
            cross join lateral (
                select x.example_id, x.task, x.embedding::vector(%2$s) <=> r.query::vector(%2$s) as distance
                from example_embeddings x
                where x.encoder = %1$L %4$s
                order by x.embedding::vector(%2$s) <=> r.query::vector(%2$s)
                limit %3$s
            ) e
        ) n
        where n.rank <= n.k
        $q$;
begin
    execute format(
        statement, encoder, dimensions, deepest,
        case when excluding then 'and x.task <> all (r.exclude_tasks)' else '' end)
    using requests into neighbours;
    if not excluding then
        return coalesce(neighbours, '{}');
    end if;

    select array_agg(r) into short
    from unnest(requests) r
    where cardinality(r.exclude_tasks) > 0
      and r.k > (select count(*) from unnest(neighbours) n where n.ordinal = r.ordinal);
    if short is null then
        return neighbours;
    end if;
    select array_agg(n) into neighbours
    from unnest(neighbours) n where not exists (select from unnest(short) r where r.ordinal = n.ordinal);
    return coalesce(neighbours, '{}') || search_exactly(short, encoder, dimensions);
end
$$;
comment on function loradex.search_examples(loradex.route_request[], text, int) is
    'Neighbours of every request by cosine, through the HNSW index of the encoder; internal.';
revoke execute on function loradex.search_examples(loradex.route_request[], text, int) from public;
grant execute on function loradex.search_examples(loradex.route_request[], text, int)
    to loradex_reader, loradex_worker, loradex_admin;
