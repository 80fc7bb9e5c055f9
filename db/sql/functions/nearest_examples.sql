-- The k examples nearest to a query, by cosine similarity, nearest first.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder or excluded task; LX005 bad vector.
create or replace function loradex.nearest_examples(
    query public.vector,
    k int default 32,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}'
) returns table (rank int, example_id bigint, task text, similarity float8)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, 1, 1, exclude_tasks, null, '{}', null);
    nearby neighbour[];
begin
    perform check_routing(k, 1e-300, 1, exclude_tasks);
    perform check_vector(query, encoder);
    nearby := search_examples(array[request], encoder);
    return query
    select n.rank, n.example_id, n.task, n.similarity
    from unnest(nearby) n
    order by n.rank;
end
$$;
comment on function loradex.nearest_examples(public.vector, int, text, text[]) is
    'The k examples nearest to the query vector by cosine similarity, nearest first.';
revoke execute on function loradex.nearest_examples(public.vector, int, text, text[]) from public;
grant execute on function loradex.nearest_examples(public.vector, int, text, text[])
    to loradex_reader, loradex_worker, loradex_admin;
