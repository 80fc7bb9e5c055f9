-- From neighbours to the task distribution and its adapters: the only place with this arithmetic.
--   probability  = sum over a task's neighbours of exp(similarity / temperature), normalised over all neighbours
--   nucleus      = among the tasks that may take part, sorted by probability, the smallest prefix whose share of
--                  their mass reaches top_p; never empty if any task may take part
--   weight       = probability renormalised inside the nucleus, 0 outside
-- A task may take part if its request has no base model, or the task has an active adapter for it that is not
-- excluded, by its name or for what it was trained on: what has no adapter gives its mass to the others before the cut.
-- Of several such adapters, one is drawn.
-- Locks: none. Raises: nothing.
create or replace function loradex.mix_neighbours(requests loradex.route_request[], nearby loradex.neighbour[])
returns table (
    ordinal int, rank int, task text, neighbours int, best_similarity float8, probability float8, weight float8,
    in_nucleus boolean, adapter_id bigint, adapter text, version int, sha256 text, uri text
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with vote as (
        -- The best similarity is taken off before exp(), and the temperature bounded, so that nothing over- or
        -- underflows; beside the 2, similarities less than 1e-15 apart are equal.
        select n.ordinal, n.task, n.similarity,
               exp(greatest(((n.similarity + 2) - (max(n.similarity) over (partition by n.ordinal) + 2))
                            / least(greatest(r.temperature, 1e-9), 1e9), -700)) as mass,
               r.top_p, r.base_model, r.exclude_adapters, r.exclude_tasks, r.job_id
        from unnest(nearby) n
        join unnest(requests) r on r.ordinal = n.ordinal
    ), counted as (
        select v.ordinal, v.task, count(*)::int as neighbours, max(v.similarity) as best_similarity,
               sum(v.mass) as mass, v.top_p, v.base_model, v.exclude_adapters, v.exclude_tasks, v.job_id
        from vote v
        group by v.ordinal, v.task, v.top_p, v.base_model, v.exclude_adapters, v.exclude_tasks, v.job_id
    ), eligible as (
        select c.*, a.id as adapter_id, a.name as adapter, a.version, a.sha256::text as sha256, a.uri,
               c.mass / sum(c.mass) over (partition by c.ordinal) as probability,
               c.base_model is null or a.id is not null as may
        from counted c
        left join adapters a
            on a.base_model = c.base_model and a.task = c.task and a.state = 'active'
            and a.name <> all (c.exclude_adapters) and not a.trained_on && c.exclude_tasks
            and (a.share = 1 or is_drawn(a, c.job_id, c.exclude_adapters, c.exclude_tasks))
    ), summed as (
        select e.*,
               row_number() over ranked as rank,
               coalesce(sum(e.mass) filter (where e.may) over (ranked rows unbounded preceding), 0) as reached,
               sum(e.mass) filter (where e.may) over (partition by e.ordinal) as whole
        from eligible e
        window ranked as (partition by e.ordinal order by e.probability desc, e.best_similarity desc, e.task)
    ), cut as (
        select s.*, s.may and (s.top_p >= 1 or (s.reached - s.mass) / s.whole < s.top_p) as inside
        from summed s
    )
    select c.ordinal, c.rank::int, c.task, c.neighbours, c.best_similarity, c.probability,
           case when c.inside then c.mass / sum(c.mass) filter (where c.inside) over (partition by c.ordinal)
                else 0 end,
           c.inside, c.adapter_id, c.adapter, c.version, c.sha256, c.uri
    from cut c;
end
$$;
comment on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[]) is
    'Task distribution, nucleus, weights and adapters of every request from its neighbours; internal.';
revoke execute on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[]) from public;
grant execute on function loradex.mix_neighbours(loradex.route_request[], loradex.neighbour[])
    to loradex_reader, loradex_worker, loradex_admin;
