-- The neighbours of every request: the only place that compares vectors. One statement for all of them.
-- The requests must have been checked (check_vector, check_routing). Locks: none. Raises: nothing of its own.
--
-- A filter is applied after the index has found its candidates. So with excluded tasks the scan is wider and goes on
-- until enough rows are left (iterative_scan). Where few rows may be looked at at all, looking at each is faster and
-- exact; what the index finds too few for is searched exactly too.
--
-- How many candidates a search looks at (ef_search) grows with the cube root of what the index holds: 88 for 10,651
-- examples, 128 for 32,566, 400 for a million. A constant would find less and less of the nearest (docs/decisions.md).
create or replace function loradex.search_examples(requests loradex.route_request[], encoder text)
returns loradex.neighbour[]
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set hnsw.ef_search = 40
set hnsw.iterative_scan = off
set hnsw.max_scan_tuples = 100000
set hnsw.scan_mem_multiplier = 8
as $$
declare
    -- Examples from which on near duplicates may be grouped: of each group one is in the index, and counts.
    large constant int := 131072;
    -- Rows up to which looking at each costs less than a filtered scan of the index (measured: about 0.7 us a row).
    -- In a large index also up to an eighth of it, which is slow and right: with 90 % of a million rows excluded the
    -- filtered scan found 0.81 of the nearest in 80 to 560 ms, looking at all 1.0 in 0.1 to 1.4 s (busy machine).
    few int := 8192;
    -- Requests from which on other processes are worth starting.
    many constant int := 32;
    rows float8 := (select c.reltuples from pg_class c where c.oid = 'loradex.example_embeddings'::regclass);
    indexed float8 := rows;
    breadth int;
    walked route_request[] := requests;
    looked_at route_request[];
    excluding boolean := cardinality(requests[1].exclude_tasks) > 0;
    deepest int := requests[1].k;
    wanted bigint := deepest;
    neighbours neighbour[];
    short route_request[];
begin
    if rows >= large then
        indexed := (
            select c.reltuples from pg_class c where c.oid = to_regclass(format('loradex.%I', encoder_index(encoder))));
    end if;
    breadth := greatest(64, 4 * cbrt(greatest(indexed, 0)));
    if cardinality(requests) > 1 then
        select bool_or(cardinality(r.exclude_tasks) > 0), max(r.k), sum(r.k) into excluding, deepest, wanted
        from unnest(requests) r;
    end if;
    if excluding then
        few := greatest(few, least(131072, indexed / 8));
        with narrow as (
            select s.exclude_tasks
            from (select distinct r.exclude_tasks from unnest(requests) r where cardinality(r.exclude_tasks) > 0) s
            where (select count(*) from (
                select from example_embeddings x
                where x.encoder = search_examples.encoder and x.duplicate_of is null
                  and x.task = any (array(select t.name from tasks t where t.name <> all (s.exclude_tasks)))
                limit few + 1) y) <= few
        )
        select array_agg(r) filter (where r.exclude_tasks not in (select n.exclude_tasks from narrow n)),
               array_agg(r) filter (where r.exclude_tasks in (select n.exclude_tasks from narrow n))
        into walked, looked_at
        from unnest(requests) r;
    end if;

    if walked is not null then
        -- These last until the function returns, as the same settings above do.
        if excluding then
            perform set_config('hnsw.iterative_scan', 'relaxed_order', true);
            breadth := greatest(breadth, 400);
        end if;
        perform set_config('hnsw.ef_search', least(1000, greatest(breadth, deepest))::text, true);
        if cardinality(walked) < many then
            neighbours := search_vectors(walked, encoder, excluding);
        else
            neighbours := array(select n from search_in_parts(walked, encoder, excluding) n);
        end if;
    end if;
    if rows >= large and looked_at is not null then
        neighbours := neighbours || search_groups(looked_at, encoder);
    end if;
    if cardinality(neighbours) = wanted then
        return neighbours;
    end if;
    short := array(
        select r from unnest(requests) r
        where r.k > (select count(*) from unnest(neighbours) n where n.ordinal = r.ordinal));
    neighbours := array(
        select n from unnest(neighbours) n
        where not exists (select from unnest(short) r where r.ordinal = n.ordinal));
    return neighbours || search_exactly(short, encoder);
end
$$;
comment on function loradex.search_examples(loradex.route_request[], text) is
    'Neighbours of every request by cosine, through the HNSW index of the encoder; internal.';
revoke execute on function loradex.search_examples(loradex.route_request[], text) from public;
grant execute on function loradex.search_examples(loradex.route_request[], text)
    to loradex_reader, loradex_worker, loradex_admin;
