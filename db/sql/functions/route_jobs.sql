-- Routes a batch of jobs: one document a job with its neighbours, task distribution and mixture. The worker reads the
-- mixture and hands the document unchanged to record_answer. Jobs may differ in every setting; each encoder among
-- them costs one search.
-- Locks: none. Raises: LX001 arrays of unlike length; LX002 the named adapter is not active; LX003 unknown job;
-- LX005 bad vector.
create or replace function loradex.route_jobs(job_ids uuid[], queries public.vector[])
returns table (job_id uuid, routing jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
declare
    started timestamptz := clock_timestamp();
    -- `encoder` of this loop.
    group_encoder text;
    requests route_request[];
    neighbours neighbour[];
    stranger text;
    share float8;
begin
    if coalesce(cardinality(job_ids), -1) <> coalesce(cardinality(queries), -2) then
        raise exception using errcode = 'LX001', message = 'job_ids and queries must have the same length, one query a job';
    end if;
    select i.id::text into stranger from unnest(job_ids) i(id) where not exists (select from jobs j where j.id = i.id) limit 1;
    if found then
        raise exception using errcode = 'LX003', message = format('no job %s', coalesce(stranger, 'null'));
    end if;
    select j.adapter into stranger
    from jobs j
    where j.id = any (job_ids) and j.method = 'own'
      and not exists (select from adapters a
                      where a.name = j.adapter and a.base_model = j.base_model and a.state = 'active')
    limit 1;
    if found then
        raise exception using errcode = 'LX002', message = format(
            'adapter %L is not active for this base model; activate it with `loradex adapter activate`, or name another',
            stranger);
    end if;

    for group_encoder in
        select distinct j.encoder from jobs j where j.id = any (job_ids) order by 1
    loop
        select array_agg(row(g.ordinal, g.query, j.k, j.top_p, j.temperature, j.exclude_tasks, j.base_model,
                             j.exclude_adapters)::route_request)
        into requests
        from unnest(job_ids, queries) with ordinality g(id, query, ordinal)
        join jobs j on j.id = g.id
        where j.encoder = group_encoder;
        perform check_vector(r.query, group_encoder) from unnest(requests) r;
        neighbours := search_examples(requests, group_encoder);
        share := extract(epoch from clock_timestamp() - started) * 1000 / cardinality(job_ids);

        return query
        with mixed as materialized (
            select * from mix_neighbours(requests, neighbours)
        ), chosen as (
            -- Which adapters take part, by the method's kind; the order of the rows is the rank.
            select r.ordinal, m.rank::bigint as place, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri,
                   case when h.adapters = 'first' then 1 else m.weight end as weight
            from unnest(requests) r
            join jobs j on j.id = job_ids[r.ordinal]
            join methods h on h.name = j.method
            join mixed m on m.ordinal = r.ordinal
            where (h.adapters = 'nucleus' and m.in_nucleus)
               or (h.adapters = 'first' and m.in_nucleus
                   and m.rank = (select min(f.rank) from mixed f where f.ordinal = r.ordinal and f.in_nucleus))
            union all
            select r.ordinal, a.id, a.id, a.name, a.version, a.task, a.sha256, a.uri,
                   1 / count(*) over (partition by r.ordinal)::float8
            from unnest(requests) r
            join jobs j on j.id = job_ids[r.ordinal]
            join methods h on h.name = j.method
            join adapters a on a.base_model = j.base_model and a.state = 'active'
            where (h.adapters = 'named' and a.name = j.adapter)
               or (h.adapters = 'all' and a.name <> all (j.exclude_adapters) and a.task <> all (j.exclude_tasks))
            union all
            select m.ordinal, m.rank, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri, m.weight
            from mix_affinities(
                (select array_agg(r) from unnest(requests) r
                 join jobs j on j.id = job_ids[r.ordinal]
                 join methods h on h.name = j.method and h.adapters = 'affinity'), neighbours) m
        ), mixtures as (
            select c.ordinal, jsonb_agg(jsonb_build_object(
                'rank', c.rank, 'adapter_id', c.adapter_id, 'adapter', c.adapter, 'version', c.version,
                'task', c.task, 'sha256', c.sha256, 'uri', c.uri, 'weight', c.weight) order by c.rank) as mixture
            from (select c.*, row_number() over (partition by c.ordinal order by c.place) as rank from chosen c) c
            group by c.ordinal
        ), distributions as (
            select m.ordinal, jsonb_agg(jsonb_build_object(
                'rank', m.rank, 'task', m.task, 'neighbours', m.neighbours, 'best_similarity', m.best_similarity,
                'probability', m.probability, 'weight', m.weight, 'in_nucleus', m.in_nucleus) order by m.rank)
                as distribution
            from mixed m
            group by m.ordinal
        ), nearby as (
            select n.ordinal, jsonb_agg(jsonb_build_object(
                'rank', n.rank, 'example_id', n.example_id, 'source_ref', x.source_ref, 'task', n.task,
                'similarity', n.similarity) order by n.rank) as neighbours
            from unnest(neighbours) n
            join examples x on x.id = n.example_id
            group by n.ordinal
        )
        select job_ids[r.ordinal], jsonb_build_object(
            'encoder', group_encoder,
            'encoder_revision', (select e.revision from encoders e where e.name = group_encoder),
            'k', r.k, 'top_p', r.top_p, 'temperature', r.temperature,
            'exclude_tasks', to_jsonb(r.exclude_tasks), 'exclude_adapters', to_jsonb(r.exclude_adapters),
            'neighbours', coalesce(y.neighbours, '[]'),
            'distribution', coalesce(d.distribution, '[]'),
            'mixture', coalesce(x.mixture, '[]'),
            'milliseconds', share)
        from unnest(requests) r
        left join nearby y on y.ordinal = r.ordinal
        left join distributions d on d.ordinal = r.ordinal
        left join mixtures x on x.ordinal = r.ordinal
        order by r.ordinal;
    end loop;
end
$$;
comment on function loradex.route_jobs(uuid[], public.vector[]) is
    'Neighbours, task distribution and mixture of every job of a batch, in one statement; one JSON document a job.';
revoke execute on function loradex.route_jobs(uuid[], public.vector[]) from public;
grant execute on function loradex.route_jobs(uuid[], public.vector[]) to loradex_worker;
