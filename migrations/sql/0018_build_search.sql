-- Makes search_vectors, which search_examples calls: one branch for each known encoder. It is generated because the
-- index of an encoder is partial (its name) and over an expression (its dimensions): only where both are constants can
-- a plan use the index and still be cached, and planning costs a fifth of a search. register_encoder and
-- build_encoder_index call it; a revision that changes this text must call it too.
-- Locks: encoders against another registration. Raises: nothing.
create or replace function loradex.build_search() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    statement constant text := $q$
            select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour)
            from (
                select r.ordinal, r.k, e.*,
                       (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
                from unnest(requests) r
                cross join lateral (%s
                ) e
            ) n
            where n.rank <= n.k$q$;
    -- The constant tells the planner that few rows are wanted; the scan stops at the second limit.
    nearest constant text := $q$
                    select * from (
                        select x.example_id, x.task, x.embedding <=> r.query as distance
                        from example_embeddings x
                        where x.encoder = %1$L%3$s
                        order by x.embedding::halfvec(%2$s) <=> r.query::halfvec(%2$s)
                        limit 1000
                    ) nearest
                    limit %4$s$q$;
    -- Where the index holds one example for a whole group of near duplicates, groups are opened, the nearest first,
    -- until 8 k examples are there: one may be nearer to the query than the one that stands for it. At a million, 2, 4
    -- and 8 k found 0.963, 0.986 and 0.993 of the nearest; more costs little.
    opened constant text := $q$
                    select o.*
                    from (select * from (%s) one order by one.distance) one
                    cross join lateral (
                        select one.example_id, one.task, one.distance
                        union all
                        select x.example_id, x.task, x.embedding <=> r.query
                        from example_embeddings x
                        where x.encoder = %L and x.duplicate_of = one.example_id
                    ) o
                    limit greatest(256, 8 * r.k)$q$;
    -- A filtered scan goes on in portions that are not in order; the best k of more are.
    more constant text := 'least(4 * r.k, 1000)';
    several constant text := 'greatest(32, r.k)';
    known record;
    excluding boolean;
    search text;
    branches text := '';
begin
    lock table encoders in share row exclusive mode;
    for known in
        select e.name, e.dimensions, i.definition like '%duplicate_of%' as grouped
        from encoders e
        cross join pg_get_indexdef(to_regclass(format('loradex.%I', encoder_index(e.name)))) i(definition)
        order by e.created_at, e.name
    loop
        foreach excluding in array array[true, false] loop
            search := format(nearest, known.name, known.dimensions,
                             concat(case when excluding then ' and x.task <> all (r.exclude_tasks)' end,
                                    case when known.grouped then ' and x.duplicate_of is null' end),
                             case when excluding then more when known.grouped then several else 'r.k' end);
            if known.grouped then
                search := format(opened, search, known.name);
            end if;
            branches := branches || format(
                E'    if encoder = %L%s then\n        return (%s\n        );\n    end if;\n',
                known.name, case when excluding then ' and excluding' end, format(statement, search));
        end loop;
    end loop;
    execute format(
        'create or replace function loradex.search_vectors(requests loradex.route_request[], encoder text, '
        'excluding boolean) returns loradex.neighbour[] language plpgsql stable parallel safe cost 100000 '
        'set search_path = pg_catalog, loradex, public, pg_temp set plan_cache_mode = force_generic_plan as %L',
        E'begin\n' || branches || E'    return null;\nend');
    comment on function loradex.search_vectors(loradex.route_request[], text, boolean) is
        'Neighbours by the index of one encoder; made by build_search, internal.';
    revoke execute on function loradex.search_vectors(loradex.route_request[], text, boolean) from public;
    grant execute on function loradex.search_vectors(loradex.route_request[], text, boolean)
        to loradex_reader, loradex_worker, loradex_admin;
end
$$;
comment on function loradex.build_search() is
    'Makes search_vectors, which searches each known encoder''s vectors with a cached plan.';
revoke execute on function loradex.build_search() from public;
grant execute on function loradex.build_search() to loradex_admin;
