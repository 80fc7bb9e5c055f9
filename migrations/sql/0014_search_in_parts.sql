-- The neighbours of a batch of requests, found in four parts that Postgres may give to other processes: on two cores a
-- batch of 64 takes three quarters of the time. With no process free it does the parts itself. search_examples calls
-- it; the settings of hnsw that are in force there are in force in every part.
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
as $$
declare
    quarter constant int := (cardinality(requests) + 3) / 4;
begin
    return query
    select n.* from unnest(search_vectors(requests[: quarter], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(requests[quarter + 1 : 2 * quarter], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(requests[2 * quarter + 1 : 3 * quarter], encoder, excluding)) n
    union all
    select n.* from unnest(search_vectors(requests[3 * quarter + 1 :], encoder, excluding)) n;
end
$$;
comment on function loradex.search_in_parts(loradex.route_request[], text, boolean) is
    'Neighbours of a batch of requests by the index of the encoder, in parts for several processes; internal.';
revoke execute on function loradex.search_in_parts(loradex.route_request[], text, boolean) from public;
grant execute on function loradex.search_in_parts(loradex.route_request[], text, boolean)
    to loradex_reader, loradex_worker, loradex_admin;
