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
-- Locks: none. Raises: nothing.
create or replace function loradex.mix_affinities(requests loradex.route_request[], nearby loradex.neighbour[])
returns table (
    ordinal int, rank int, adapter_id bigint, adapter text, version int, task text, sha256 text, uri text,
    mass float8, weight float8
)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with likely as (
        select m.ordinal, m.task, m.probability from mix_neighbours(requests, nearby) m
    ), met as (
        select l.ordinal, l.task, l.probability, a.id as adapter_id, r.top_p, f.score, f.n, a.task = l.task as own,
               l.task = any (a.trained_on) as taught,
               bool_or(a.task = l.task) over (partition by l.ordinal, l.task) as has_own
        from unnest(requests) r
        join likely l on l.ordinal = r.ordinal
        join adapters a
            on a.base_model = r.base_model and a.state = 'active' and a.name <> all (r.exclude_adapters)
            and a.task <> all (r.exclude_tasks) and not a.trained_on && r.exclude_tasks
            and (a.share = 1 or is_drawn(a, r.job_id, r.exclude_adapters, r.exclude_tasks))
        -- Sought by both columns of its key: joined, it would be read by the task alone, once for each adapter.
        left join lateral (
            select f.score, f.n from task_affinities f where f.task = l.task and f.adapter_id = a.id offset 0) f on true
        where f.score is not null or a.task = l.task or l.task = any (a.trained_on)
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
