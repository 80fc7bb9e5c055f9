-- Past questions near a query vector, nearest first, and the mixture they got. It looks at every stored query.
-- Locks: none. Raises: LX001 bad k; LX002 unknown encoder; LX005 bad vector.
create or replace function loradex.similar_answers(
    query public.vector, k int default 10, encoder text default 'all-MiniLM-L6-v2'
) returns table (
    rank int, answer_id uuid, similarity float8, prompt text, answer text, method text, mixture jsonb
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    perform check_routing(k, 1e-300, 1);
    perform check_vector(similar_answers.query, similar_answers.encoder);
    return query
    select (row_number() over (order by n.distance, a.position))::int, a.id, 1 - n.distance, a.prompt, a.text, a.method,
           coalesce((select jsonb_object_agg(c.adapter, c.weight) from unnest(a.adapters, a.weights) c(adapter, weight)),
                    '{}')
    from (
        select r.id, r.query <=> similar_answers.query as distance
        from answers r
        where r.encoder = similar_answers.encoder and r.query is not null
        order by distance
        limit similar_answers.k
    ) n
    join answers a on a.id = n.id
    order by 1;
end
$$;
comment on function loradex.similar_answers(public.vector, int, text) is
    'Past questions nearest to a query vector, with their answers and mixtures (adapter to weight).';
revoke execute on function loradex.similar_answers(public.vector, int, text) from public;
grant execute on function loradex.similar_answers(public.vector, int, text) to loradex_reader, loradex_worker, loradex_admin;
