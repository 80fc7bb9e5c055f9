-- What task_distribution would have said for the stored query of an answer under other settings; null keeps the
-- answer's own, which may be out of range by now. Tasks the answer excluded stay excluded. It looks through the examples of today.
-- Locks: none. Raises: LX001 bad setting; LX004 unknown answer, or an erased one.
create or replace function loradex.reroute(
    answer_id uuid, k int default null, top_p float8 default null, temperature float8 default null
) returns table (
    rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8, in_nucleus boolean
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    stored retrievals;
    request route_request;
    nearby neighbour[];
begin
    select r.* into stored from retrievals r where r.answer_id = reroute.answer_id;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s; list them with `select id from loradex.answers`', coalesce(reroute.answer_id::text, 'null'));
    end if;
    if stored.query is null then
        raise exception using errcode = 'LX004', message = format(
            'the query of answer %s was erased, so it cannot be routed again', reroute.answer_id);
    end if;
    perform check_routing(coalesce(k, 1), coalesce(top_p, 1e-300), coalesce(temperature, 1));
    request := row(1, stored.query, coalesce(k, stored.k), coalesce(top_p, stored.top_p),
                   coalesce(temperature, stored.temperature), stored.exclude_tasks, null, '{}', null);
    nearby := search_examples(array[request], stored.encoder);
    return query
    select m.rank, m.task, m.neighbours, m.best_similarity, m.probability, m.weight, m.in_nucleus
    from mix_neighbours(array[request], nearby) m
    order by m.rank;
end
$$;
comment on function loradex.reroute(uuid, int, float8, float8) is
    'task_distribution for the stored query of an answer under other settings; null keeps the answer''s own.';
revoke execute on function loradex.reroute(uuid, int, float8, float8) from public;
grant execute on function loradex.reroute(uuid, int, float8, float8)
    to loradex_reader, loradex_worker, loradex_admin;
