-- Makes the function that searches the vectors of one encoder: search_by_<encoder>, called by search_examples alone.
-- It is generated because the encoder's index is partial (its name) and over an expression (its dimensions): only
-- where both are constants can the plan use the index and still be cached, and planning costs a fifth of a search.
-- A revision that changes this text must call it again for every encoder.
-- Locks: none. Raises: LX002 unknown encoder.
create or replace function loradex.build_encoder_search(encoder text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    dimensions int := (select e.dimensions from encoders e where e.name = encoder);
    body text;
    statement constant text := $s$
        select array_agg(row(n.ordinal, n.rank, n.example_id, n.task, 1 - n.distance)::neighbour)
        from (
            select r.ordinal, e.*,
                   (row_number() over (partition by r.ordinal order by e.distance, e.example_id))::int as rank
            from unnest(requests) r
            cross join lateral (
                -- The constant tells the planner that few rows are wanted; the scan stops at k.
                select * from (
                    select x.example_id, x.task, x.embedding::vector(%2$s) <=> r.query::vector(%2$s) as distance
                    from example_embeddings x
                    where x.encoder = %1$L %3$s
                    order by x.embedding::vector(%2$s) <=> r.query::vector(%2$s)
                    limit 1000
                ) found
                limit r.k
            ) e
        ) n$s$;
begin
    if dimensions is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %L; register it with loradex.register_encoder', encoder);
    end if;
    body := format(
        E'begin\n    if excluding then\n        return (%s\n        );\n    end if;\n    return (%s\n    );\nend',
        format(statement, encoder, dimensions, 'and x.task <> all (r.exclude_tasks)'),
        format(statement, encoder, dimensions, ''));
    execute format(
        'create or replace function loradex.%I(requests loradex.route_request[], excluding boolean) '
        'returns loradex.neighbour[] language plpgsql stable '
        'set search_path = pg_catalog, loradex, public, pg_temp set plan_cache_mode = force_generic_plan as %L',
        encoder_search(encoder), body);
    execute format(
        'comment on function loradex.%I(loradex.route_request[], boolean) is %L', encoder_search(encoder),
        format('Neighbours by the index of encoder %s; made by build_encoder_search, internal.', encoder));
    execute format(
        'revoke execute on function loradex.%I(loradex.route_request[], boolean) from public', encoder_search(encoder));
    execute format(
        'grant execute on function loradex.%I(loradex.route_request[], boolean) '
        'to loradex_reader, loradex_worker, loradex_admin', encoder_search(encoder));
end
$$;
comment on function loradex.build_encoder_search(text) is
    'Makes search_by_<encoder>, the function that searches one encoder''s vectors with a cached plan.';
revoke execute on function loradex.build_encoder_search(text) from public;
grant execute on function loradex.build_encoder_search(text) to loradex_admin;
