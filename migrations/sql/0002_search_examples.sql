-- The neighbours of every request: the only place that compares vectors. One statement for all of them.
-- The requests must have been checked (check_vector, check_routing). Locks: none. Raises: nothing of its own.
--
-- A filter is applied after the index has found its candidates; so with excluded tasks the scan goes on until k rows
-- are left (iterative_scan). What the index still finds too few for, as when nearly everything near is excluded, is
-- searched exactly.
create or replace function loradex.search_examples(requests loradex.route_request[], encoder text, dimensions int)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 100
set hnsw.iterative_scan = off
set hnsw.max_scan_tuples = 100000
set hnsw.scan_mem_multiplier = 8
as $$
declare
    first constant route_request := requests[1];
    deepest int := first.k;
    excluding boolean := cardinality(first.exclude_tasks) > 0;
    wanted bigint := first.k;
    neighbours neighbour[];
    short route_request[];
begin
    if cardinality(requests) > 1 then
        select max(r.k), sum(r.k), bool_or(cardinality(r.exclude_tasks) > 0)
        into deepest, wanted, excluding
        from unnest(requests) r;
    end if;
    -- These last until the function returns, as the same settings above do.
    if deepest > 100 then
        perform set_config('hnsw.ef_search', deepest::text, true);
    end if;
    if excluding then
        perform set_config('hnsw.iterative_scan', 'relaxed_order', true);
    end if;

    execute format('select %I($1, $2)', encoder_search(encoder)) using requests, excluding into neighbours;
    if cardinality(neighbours) = wanted then
        return neighbours;
    end if;

    select array_agg(r) into short
    from unnest(requests) r
    where r.k > (select count(*) from unnest(neighbours) n where n.ordinal = r.ordinal);
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
