-- How the k nearest examples vote for tasks, and which tasks survive the nucleus cut (adapters play no part here).
-- Locks: none. Raises: LX001 bad setting; LX002 unknown encoder or excluded task; LX005 bad vector.
create or replace function loradex.task_distribution(
    query public.vector,
    k int default 32,
    top_p float8 default 0.9,
    temperature float8 default 0.1,
    encoder text default 'all-MiniLM-L6-v2',
    exclude_tasks text[] default '{}'
) returns table (
    rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8, in_nucleus boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    request route_request := row(1, query, k, top_p, temperature, exclude_tasks, null, '{}', null);
    nearby neighbour[];
begin
    perform check_routing(k, top_p, temperature, exclude_tasks);
    perform check_vector(query, encoder);
    nearby := search_examples(array[request], encoder);
    return query
    select m.rank, m.task, m.neighbours, m.best_similarity, m.probability, m.weight, m.in_nucleus
    from mix_neighbours(array[request], nearby) m
    order by m.rank;
end
$$;
comment on function loradex.task_distribution(public.vector, int, float8, float8, text, text[]) is
    'Tasks of the nearest examples: probability (sums to 1), weight inside the nucleus (sums to 1), likeliest first.';
revoke execute on function loradex.task_distribution(public.vector, int, float8, float8, text, text[]) from public;
grant execute on function loradex.task_distribution(public.vector, int, float8, float8, text, text[])
    to loradex_reader, loradex_worker, loradex_admin;
