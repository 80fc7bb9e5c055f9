-- From neighbours to adapters by what was measured: each task that the neighbours voted for votes in turn, for the
-- adapters that answered its rows best.
--   vote     = exp((score + 0.1 if the adapter was trained on the task) / 0.01), normalised over the task's adapters
--   mass     = sum over tasks of the task's probability (mix_neighbours) * its vote for the adapter, normalised
--   weight   = mass renormalised inside the nucleus: the smallest prefix, heaviest first, that reaches top_p
-- A task votes among allowed active adapters that were measured on it; its own adapter counts as 1 until it is. An
-- adapter that was declared to be trained on a task has the head start too, and stands in where the task has no adapter
-- of its own. A task that has none gives its mass to the others. Figures come from some hundred rows: hence the softness
-- of the vote and the head start of the task's own adapter (docs/decisions.md).
-- The fewer the rows, the less a figure says: of a stranger's vote only n / (n + affinity_rows) counts, n being the rows
-- it or the task's own adapter was measured on, whichever are fewer. The rest goes where retrieval alone would send it:
-- to the task's own adapter, and without one to the other tasks.
-- Planned once per session (force_generic_plan), since planning takes longer than running.
-- Locks: none. Raises: nothing.
create or replace function loradex.mix_affinities(requests loradex.route_request[], nearby loradex.neighbour[])
returns table (
    ordinal int, rank int, adapter_id bigint, adapter text, version int, task text, sha256 text, uri text,
    mass float8, weight float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
    with likely as (
        select m.ordinal, m.task, m.probability from mix_neighbours(requests, nearby) m
    ), asked as materialized (
        select l.ordinal, l.task, l.probability, r.top_p, r.base_model, r.exclude_adapters, r.exclude_tasks, r.job_id
        from unnest(requests) r
        join likely l on l.ordinal = r.ordinal
    ), pair as (
        -- From the task to its adapters: what is read grows with the figures of the tasks that were voted for.
        select q.*, f.adapter_id, f.score, f.n
        from asked q
        cross join lateral (
            select f.adapter_id, f.score, f.n from task_affinities f where f.task = q.task offset 0) f
        union all
        select q.*, h.id, null, null
        from asked q
        join adapters h on h.base_model = q.base_model and h.task = q.task and h.state = 'active'
        where not exists (select from task_affinities f where f.task = q.task and f.adapter_id = h.id)
        union all
        select q.*, h.id, null, null
        -- Few have any, so they are looked through once, and not for each task.
        from (select x.* from adapters x where x.state = 'active' and x.trained_on <> '{}' offset 0) h
        join asked q on q.base_model = h.base_model and q.task = any (h.trained_on) and q.task <> h.task
        where not exists (select from task_affinities f where f.task = q.task and f.adapter_id = h.id)
    ), met as (
        select p.ordinal, p.task, p.probability, a.id as adapter_id, p.top_p, p.score, p.n, a.task = p.task as own,
               p.task = any (a.trained_on) as taught,
               bool_or(a.task = p.task) over (partition by p.ordinal, p.task) as has_own
        from pair p
        join adapters a
            on a.id = p.adapter_id and a.base_model = p.base_model and a.state = 'active'
            and a.name <> all (p.exclude_adapters)
            and a.task <> all (p.exclude_tasks) and not a.trained_on && p.exclude_tasks
            and (a.share = 1 or is_drawn(a, p.job_id, p.exclude_adapters, p.exclude_tasks))
    ), judged as (
        select m.*, m.own or (m.taught and not m.has_own) as home,
               coalesce(m.score, 1) + case when m.own or m.taught then 0.1 else 0 end as judgement
        from met m
        where m.score is not null or m.own or not m.has_own
    ), voted as (
        select j.*, exp((j.judgement - max(j.judgement) over votes) / 0.01) as vote,
               least(j.n, min(j.n) filter (where j.home) over votes) as rows,
               count(*) filter (where j.home) over votes as homes
        from judged j
        window votes as (partition by j.ordinal, j.task)
    ), counted as (
        select v.*, v.vote / sum(v.vote) over (partition by v.ordinal, v.task) as whole,
               case when v.home then 1 else v.rows / (v.rows + (select s.value::float8 from settings s where s.name = 'affinity_rows')) end as counts
        from voted v
    ), shared as (
        select c.*, c.probability * (
                   c.whole * c.counts
                   + case when c.home then sum(c.whole * (1 - c.counts)) over (partition by c.ordinal, c.task) / c.homes
                          else 0 end) as share
        from counted c
    ), massed as (
        select s.ordinal, s.adapter_id, s.top_p,
               sum(s.share) / sum(sum(s.share)) over (partition by s.ordinal) as mass
        from shared s
        group by s.ordinal, s.adapter_id, s.top_p
    ), summed as (
        select m.*, row_number() over ranked as rank, sum(m.mass) over (ranked rows unbounded preceding) as reached
        from massed m
        window ranked as (partition by m.ordinal order by m.mass desc, m.adapter_id)
    )
    select c.ordinal, c.rank::int, a.id, a.name, a.version, a.task, a.sha256::text, a.uri, c.mass,
           c.mass / sum(c.mass) over (partition by c.ordinal)
    from summed c
    join adapters a on a.id = c.adapter_id
    where c.top_p >= 1 or c.reached - c.mass < c.top_p;
end
$$;
comment on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[]) is
    'Adapters of every request by their measured affinity to the neighbours'' tasks, with weights; internal.';
revoke execute on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[]) from public;
grant execute on function loradex.mix_affinities(loradex.route_request[], loradex.neighbour[])
    to loradex_reader, loradex_worker, loradex_admin;
