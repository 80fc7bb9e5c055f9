-- Makes search_vectors, which search_examples calls: one branch for each known encoder. It is generated because the
-- index of an encoder is partial (its name) and over an expression (its dimensions): only where both are constants can
-- a plan use the index and still be cached, and planning costs a fifth of a search. register_encoder calls it; a
-- revision that changes this text must call it too.
-- Locks: encoders against another registration. Raises: nothing.
create or replace function loradex.build_search() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    statement constant text := $s$
            select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour)
            from (
                select r.ordinal, r.k, e.*,
                       (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
                from unnest(requests) r
                cross join lateral (
                    -- The constant tells the planner that few rows are wanted; the scan stops at the second limit.
                    select * from (
                        select x.example_id, x.task, x.embedding <=> r.query as distance
                        from example_embeddings x
                        where x.encoder = %1$L %3$s
                        order by x.embedding::halfvec(%2$s) <=> r.query::halfvec(%2$s)
                        limit 1000
                    ) nearest
                    limit %4$s
                ) e
            ) n
            where n.rank <= n.k$s$;
    branches text;
begin
    lock table encoders in share row exclusive mode;
    select string_agg(
        format(E'    if encoder = %L and excluding then\n        return (%s\n        );\n    end if;\n',
               e.name, format(statement, e.name, e.dimensions, 'and x.task <> all (r.exclude_tasks)',
                              -- A filtered scan goes on in portions that are not in order; the best k of more are.
                              'least(4 * r.k, 1000)'))
        || format(E'    if encoder = %L then\n        return (%s\n        );\n    end if;\n',
                  e.name, format(statement, e.name, e.dimensions, '', 'r.k')),
        '' order by e.created_at, e.name)
    into branches
    from encoders e;
    execute format(
        'create or replace function loradex.search_vectors(requests loradex.route_request[], encoder text, '
        'excluding boolean) returns loradex.neighbour[] language plpgsql stable parallel safe cost 100000 '
        'set search_path = pg_catalog, loradex, public, pg_temp set plan_cache_mode = force_generic_plan as %L',
        E'begin\n' || coalesce(branches, '') || E'    return null;\nend');
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
