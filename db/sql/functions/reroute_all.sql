-- How the mixture of every stored answer would change under other settings (null keeps the answer's own) with the
-- examples and adapters of today: total variation between the task weights then and now, tasks that came and went.
-- Weight that went to or came from no adapter at all counts as that of the bare model. Answers of methods that go by
-- affinity are judged by their adapters' tasks and the affinities of today, others by the neighbours' tasks.
-- Locks: none. Raises: LX001 bad setting.
create or replace function loradex.reroute_all(
    k int default null, top_p float8 default null, temperature float8 default null,
    since timestamptz default '-infinity'
) returns table (
    answer_id uuid, created_at timestamptz, total_variation float8, tasks_in text[], tasks_out text[]
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    encoder text;
    ids uuid[];
    requests route_request[];
    -- Those of them whose methods go by affinity.
    measured route_request[];
    neighbours neighbour[];
begin
    perform check_routing(coalesce(k, 1), coalesce(top_p, 1e-300), coalesce(temperature, 1));
    for encoder, ids, requests, measured in
        select c.encoder, array_agg(c.answer_id order by c.place), array_agg(c.request order by c.place),
               array_agg(c.request) filter (where c.selection = 'affinity')
        from (
            select p.*,
                   row(p.place, p.query, coalesce(reroute_all.k, p.k), coalesce(reroute_all.top_p, p.top_p),
                       coalesce(reroute_all.temperature, p.temperature), p.exclude_tasks, p.base_model,
                       p.exclude_adapters, p.job_id)::route_request as request
            from (
                select a.id as answer_id, a.query, a.encoder, a.k, a.top_p, a.temperature, a.exclude_tasks,
                       a.exclude_adapters, a.base_model, a.job_id, h.selection,
                       (row_number() over chain - 1) / 256 as chunk,
                       ((row_number() over chain - 1) % 256 + 1)::int as place
                from answers a
                join methods h on h.name = a.method
                where a.query is not null and a.created_at >= since and a.id >= first_id(since)
                window chain as (partition by a.encoder order by a.position)
            ) p
        ) c
        group by c.encoder, c.chunk
        order by c.encoder, c.chunk
    loop
        neighbours := search_examples(requests, encoder);
        return query
        with judged as (
            select ids[r.ordinal] as answer_id from unnest(measured) r
        ), fresh as (
            select ids[m.ordinal] as answer_id, m.task, m.weight
            from mix_neighbours(requests, neighbours) m
            where m.in_nucleus and ids[m.ordinal] not in (select j.answer_id from judged j)
            union all
            select ids[m.ordinal], m.task, sum(m.weight) from mix_affinities(measured, neighbours) m
            group by m.ordinal, m.task
        ), stored as (
            select t.answer_id, t.task, t.weight from retrieved_tasks t
            where t.answer_id = any (ids) and t.in_nucleus and t.answer_id not in (select j.answer_id from judged j)
            union all
            select c.answer_id, c.task, sum(c.weight) from merge_components c join judged j on j.answer_id = c.answer_id
            group by c.answer_id, c.task
        ), change as (
            select coalesce(f.answer_id, s.answer_id) as answer_id, coalesce(f.task, s.task) as task,
                   coalesce(f.weight, 0) as after, coalesce(s.weight, 0) as before
            from fresh f full join stored s on s.answer_id = f.answer_id and s.task = f.task
        )
        select a.id, a.created_at, coalesce((sum(abs(c.after - c.before)) + abs(sum(c.after) - sum(c.before))) / 2, 0),
               coalesce(array_agg(c.task order by c.after desc) filter (where c.before = 0), '{}'),
               coalesce(array_agg(c.task order by c.before desc) filter (where c.after = 0), '{}')
        from answers a left join change c on c.answer_id = a.id
        where a.id = any (ids)
        group by a.id, a.created_at, a.position
        order by a.position;
    end loop;
end
$$;
comment on function loradex.reroute_all(int, float8, float8, timestamptz) is
    'For every stored answer since a time: total variation of its task weights under other settings, tasks in and out.';
revoke execute on function loradex.reroute_all(int, float8, float8, timestamptz) from public;
grant execute on function loradex.reroute_all(int, float8, float8, timestamptz) to loradex_reader, loradex_worker, loradex_admin;
