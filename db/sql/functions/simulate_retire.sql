-- The answers whose mixture would change if an adapter were retired, and how, judged by the neighbours that were
-- stored with them, what their jobs draw among adapters that share a task, and the other adapters and affinities of
-- today. Answers of methods that take one adapter by name, or all alike, are left out: these do not go by neighbours.
-- `since` leaves out older ones.
-- Locks: none. Raises: LX002 unknown adapter.
create or replace function loradex.simulate_retire(adapter text, since timestamptz default null) returns table (
    answer_id uuid, created_at timestamptz, weight float8, total_variation float8, mixture jsonb
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    ids uuid[];
    selections text[];
    requests route_request[];
    -- Those of them whose methods go by affinity.
    measured route_request[];
    nearby neighbour[];
begin
    if not exists (select from adapters a where a.name = simulate_retire.adapter) then
        raise exception using errcode = 'LX002', message = format(
            'no adapter %s; see `loradex adapter list`', shown(adapter));
    end if;
    for ids, selections, requests, measured in
        select array_agg(c.answer_id order by c.place), array_agg(c.selection order by c.place),
               array_agg(c.request) filter (where c.selection in ('nucleus', 'first')),
               array_agg(c.request) filter (where c.selection = 'affinity')
        from (
            select p.*, row(p.place, null, p.k, p.top_p, p.temperature, p.exclude_tasks, p.base_model,
                            p.exclude_adapters || simulate_retire.adapter, p.job_id)::route_request as request
            from (
                select a.id as answer_id, a.k, a.top_p, a.temperature, a.exclude_tasks, a.exclude_adapters,
                       a.base_model, a.job_id, h.selection,
                       (row_number() over chain - 1) / 256 as chunk,
                       ((row_number() over chain - 1) % 256 + 1)::int as place
                from answers a
                join methods h on h.name = a.method and h.selection in ('nucleus', 'first', 'affinity')
                where a.adapters @> array[simulate_retire.adapter]
                  and a.id >= coalesce(first_id(simulate_retire.since), '00000000-0000-0000-0000-000000000000')
                window chain as (order by a.position)
            ) p
        ) c
        group by c.chunk
        order by c.chunk
    loop
        select array_agg(row(array_position(ids, e.answer_id), e.rank, e.example_id, e.task, e.similarity)::neighbour)
        into nearby
        from retrieved_examples e where e.answer_id = any (ids);
        return query
        with fresh as (
            select ids[m.ordinal] as answer_id, m.adapter,
                   case when selections[m.ordinal] = 'first' then 1 else m.weight end as weight
            from (select n.*, min(n.rank) over (partition by n.ordinal) as first
                  from mix_neighbours(requests, nearby) n where n.in_nucleus) m
            where selections[m.ordinal] <> 'first' or m.rank = m.first
            union all
            select ids[m.ordinal], m.adapter, m.weight from mix_affinities(measured, nearby) m
        ), stored as (
            select c.answer_id, c.adapter, c.weight from merge_components c where c.answer_id = any (ids)
        ), change as (
            select coalesce(f.answer_id, s.answer_id) as answer_id, coalesce(f.adapter, s.adapter) as adapter,
                   coalesce(f.weight, 0) as after, coalesce(s.weight, 0) as before
            from fresh f full join stored s on s.answer_id = f.answer_id and s.adapter = f.adapter
        )
        select a.id, a.created_at, sum(c.before) filter (where c.adapter = simulate_retire.adapter),
               (sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before))) / 2,
               coalesce(jsonb_object_agg(c.adapter, c.after) filter (where c.after > 0), '{}')
        from change c join answers a on a.id = c.answer_id
        group by a.id, a.created_at, a.position
        order by a.position;
    end loop;
end
$$;
comment on function loradex.simulate_retire(text, timestamptz) is
    'Answers whose mixture would change without an adapter: its weight, total variation, the mixture instead.';
revoke execute on function loradex.simulate_retire(text, timestamptz) from public;
grant execute on function loradex.simulate_retire(text, timestamptz) to loradex_reader, loradex_worker, loradex_admin;
