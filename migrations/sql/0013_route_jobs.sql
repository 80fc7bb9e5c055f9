-- Routes a batch of jobs: one document a job with its neighbours, task distribution and mixture. The worker reads the
-- mixture and hands the document unchanged to record_answer. Jobs may differ in every setting; each encoder among
-- them costs one search.
-- Its statements are planned once a session: a plan made for the very arrays always looks cheaper, and making it took a
-- third of a call.
-- Locks: none. Raises: LX001 arrays of unlike length; LX002 the named adapter is not active; LX003 unknown job;
-- LX005 bad vector.
create or replace function loradex.route_jobs(job_ids uuid[], queries public.vector[])
returns table (job_id uuid, routing jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    started timestamptz := clock_timestamp();
    -- The jobs of one encoder: their requests, the kind of adapters each method takes, the adapter each names.
    batch record;
    neighbours neighbour[];
    share float8;
begin
    if coalesce(cardinality(job_ids), -1) <> coalesce(cardinality(queries), -2) then
        raise exception using errcode = 'LX001', message = 'job_ids and queries must have the same length, one query a job';
    end if;

    for batch in
        select j.encoder, e.revision,
               array_agg(row(g.ordinal, g.query, j.k, j.top_p, j.temperature, j.exclude_tasks, j.base_model,
                             j.exclude_adapters)::route_request) as requests,
               array_agg(m.adapters) as kinds, array_agg(j.adapter) as named,
               min(coalesce(g.id::text, 'null')) filter (where j.id is null) as unknown,
               min(j.adapter) filter (where m.adapters = 'named' and not exists (
                   select from adapters a
                   where a.name = j.adapter and a.base_model = j.base_model and a.state = 'active')) as inactive
        from unnest(job_ids, queries) with ordinality g(id, query, ordinal)
        left join jobs j on j.id = g.id
        left join methods m on m.name = j.method
        left join encoders e on e.name = j.encoder
        group by j.encoder, e.revision
        order by j.encoder nulls first
    loop
        if batch.unknown is not null then
            raise exception using errcode = 'LX003', message = format('no job %s', batch.unknown);
        end if;
        if batch.inactive is not null then
            raise exception using errcode = 'LX002', message = format(
                'adapter %L is not active for this base model; activate it with `loradex adapter activate`, or name '
                'another', batch.inactive);
        end if;
        perform check_vector(r.query, batch.encoder) from unnest(batch.requests) r;
        neighbours := search_examples(batch.requests, batch.encoder);
        share := extract(epoch from clock_timestamp() - started) * 1000 / cardinality(job_ids);

        return query
        with asked as materialized (
            select * from unnest(batch.requests, batch.kinds, batch.named) as a (
                ordinal, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters, kind, named)
        ), mixed as materialized (
            select * from mix_neighbours(batch.requests, neighbours)
        ), chosen as (
            -- Which adapters take part, by the method's kind; the order of the rows is the rank.
            select m.ordinal, m.rank::bigint as place, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri,
                   case when a.kind = 'first' then 1 else m.weight end as weight
            from asked a
            join mixed m on m.ordinal = a.ordinal and m.in_nucleus
            where a.kind = 'nucleus'
               or (a.kind = 'first'
                   and m.rank = (select min(f.rank) from mixed f where f.ordinal = a.ordinal and f.in_nucleus))
            union all
            select a.ordinal, d.id, d.id, d.name, d.version, d.task, d.sha256, d.uri,
                   1 / count(*) over (partition by a.ordinal)::float8
            from asked a
            join adapters d on d.base_model = a.base_model and d.state = 'active'
            where batch.kinds && array['named', 'all']
              and ((a.kind = 'named' and d.name = a.named)
                or (a.kind = 'all' and d.name <> all (a.exclude_adapters) and d.task <> all (a.exclude_tasks)))
            union all
            select m.ordinal, m.rank, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri, m.weight
            from (select array_agg(r) as requests from unnest(batch.requests) r
                  join asked a on a.ordinal = r.ordinal and a.kind = 'affinity') wanted
            cross join lateral mix_affinities(wanted.requests, neighbours) m
            where batch.kinds && array['affinity']
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
            'encoder', batch.encoder,
            'encoder_revision', batch.revision,
            'k', r.k, 'top_p', r.top_p, 'temperature', r.temperature,
            'exclude_tasks', to_jsonb(r.exclude_tasks), 'exclude_adapters', to_jsonb(r.exclude_adapters),
            'neighbours', coalesce(y.neighbours, '[]'),
            'distribution', coalesce(d.distribution, '[]'),
            'mixture', coalesce(x.mixture, '[]'),
            'milliseconds', share)
        from asked r
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
