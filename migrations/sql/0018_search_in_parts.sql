-- The neighbours of a batch of requests, found in eight parts by this process and another that Postgres lends: a batch
-- of 64 takes two thirds of the time. With no process free it does the parts itself. A new process has none of the
-- pages at hand, which takes it some 20 ms; so a second one makes a batch slower on two cores. Requests that are alike
-- follow each other, since they walk through the same pages: sorted by the nearest of the first eight.
-- search_examples calls it; the settings of hnsw that are in force there are in force in every part.
-- It is a function of its own because Postgres gives nothing away in a statement that may stop early, such as select
-- into or an expression of PL/pgSQL (PostgreSQL 18, executor/execMain.c); return query is none.
-- The requests must have been checked. Locks: none. Raises: nothing.
create or replace function loradex.search_in_parts(
    requests loradex.route_request[], encoder text, excluding boolean
) returns setof loradex.neighbour
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
set parallel_setup_cost = 0
set parallel_tuple_cost = 0
set max_parallel_workers = 1
as $$
declare
    eighth constant int := (cardinality(requests) + 7) / 8;
    sorted route_request[] := array(
        select r from unnest(requests) r
        order by (select p.ordinal from unnest(requests[:8]) p order by p.query <=> r.query limit 1),
                 r.query <=> requests[1].query);
begin
    return query
    select n.* from unnest(search_vectors(sorted[: eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[eighth + 1 : 2 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[2 * eighth + 1 : 3 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[3 * eighth + 1 : 4 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[4 * eighth + 1 : 5 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[5 * eighth + 1 : 6 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[6 * eighth + 1 : 7 * eighth], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(sorted[7 * eighth + 1 :], encoder, excluding)) n;
end
$$;
comment on function loradex.search_in_parts(loradex.route_request[], text, boolean) is
    'Neighbours of a batch of requests by the index of the encoder, in parts for several processes; internal.';
revoke execute on function loradex.search_in_parts(loradex.route_request[], text, boolean) from public;
grant execute on function loradex.search_in_parts(loradex.route_request[], text, boolean)
    to loradex_reader, loradex_worker, loradex_admin;
