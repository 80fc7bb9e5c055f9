-- What routing decides for a batch of jobs: one document per job with its neighbours, task distribution, mixture, how the
-- mixture is merged, what was drawn among adapters that share a task, and what earlier answers gave its choices where the
-- job wants that. Jobs may differ in every setting; each encoder among them costs one search. Excluding a task excludes the adapters trained on it, but for the one that method own names.
-- Its statements are planned once per session (force_generic_plan): custom plans look cheaper because the arrays' lengths
-- are known, but planning them takes a third of the call.
-- Locks: none. Raises: LX001 arrays of unlike length; LX002 the named adapter is not active; LX003 unknown job;
-- LX005 bad vector.
create or replace function loradex.decide_routes(job_ids uuid[], queries public.vector[])
returns table (job_id uuid, routing jsonb)
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    started timestamptz := clock_timestamp();
    -- The jobs of one encoder: their requests, which adapters each method takes, the adapter each names.
    batch record;
    neighbours neighbour[];
    share float8;
begin
    if coalesce(cardinality(job_ids), -1) <> coalesce(cardinality(queries), -2) then
        raise exception using errcode = 'LX001', message = 'job_ids and queries must have the same length, one query per job';
    end if;

    for batch in
        select j.encoder, e.revision,
               array_agg(row(g.ordinal, g.query, j.k, j.top_p, j.temperature, j.exclude_tasks, j.base_model,
                             j.exclude_adapters, j.id)::route_request) as requests,
               array_agg(m.selection) as selections, array_agg(j.adapter) as named,
               min(coalesce(g.id::text, 'null')) filter (where j.id is null) as unknown,
               min(j.adapter) filter (where m.selection = 'named' and not exists (
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
                'adapter %s is not active for this base model; activate it with `loradex adapter activate`, or name '
                'another', shown(batch.inactive));
        end if;
        perform check_vector(r.query, batch.encoder) from unnest(batch.requests) r;
        neighbours := search_examples(batch.requests, batch.encoder);
        share := extract(epoch from clock_timestamp() - started) * 1000 / cardinality(job_ids);

        return query
        with asked as materialized (
            select * from unnest(batch.requests, batch.selections, batch.named) as a (
                ordinal, query, k, top_p, temperature, exclude_tasks, base_model, exclude_adapters, job_id,
                selection, named)
        ), mixed as materialized (
            select * from mix_neighbours(batch.requests, neighbours)
        ), chosen as (
            -- Which adapters take part, by the method's selection; the order of the rows is the rank.
            select m.ordinal, m.rank::bigint as place, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri,
                   case when a.selection = 'first' then 1 else m.weight end as weight
            from asked a
            join mixed m on m.ordinal = a.ordinal and m.in_nucleus
            where a.selection = 'nucleus'
               or (a.selection = 'first'
                   and m.rank = (select min(f.rank) from mixed f where f.ordinal = a.ordinal and f.in_nucleus))
            union all
            select a.ordinal, d.id, d.id, d.name, d.version, d.task, d.sha256, d.uri,
                   1 / count(*) over (partition by a.ordinal)::float8
            from asked a
            join adapters d on d.base_model = a.base_model and d.state = 'active'
            where batch.selections && array['named', 'all']
              and ((a.selection = 'named' and d.name = a.named and not exists (
                        -- Of its versions that are active, the one that the job draws.
                        select from adapters b
                        where b.name = d.name and b.state = 'active'
                          and adapter_draw(a.job_id, b.sha256::text, b.share)
                              < adapter_draw(a.job_id, d.sha256::text, d.share)))
                or (a.selection = 'all' and d.name <> all (a.exclude_adapters) and d.task <> all (a.exclude_tasks)
                    and not d.trained_on && a.exclude_tasks
                    and (d.share = 1 or is_drawn(d, a.job_id, a.exclude_adapters, a.exclude_tasks))))
            union all
            select m.ordinal, m.rank, m.adapter_id, m.adapter, m.version, m.task, m.sha256, m.uri, m.weight
            from (select array_agg(r) as requests from unnest(batch.requests) r
                  join asked a on a.ordinal = r.ordinal and a.selection = 'affinity') wanted
            cross join lateral mix_affinities(wanted.requests, neighbours) m
            where batch.selections && array['affinity']
        ), mixtures as (
            select c.ordinal, jsonb_agg(jsonb_build_object(
                'rank', c.rank, 'adapter_id', c.adapter_id, 'adapter', c.adapter, 'version', c.version,
                'task', c.task, 'sha256', c.sha256, 'uri', c.uri, 'weight', c.weight) order by c.rank) as mixture
            from (select c.*, row_number() over (partition by c.ordinal order by c.place) as rank from chosen c) c
            group by c.ordinal
        ), draws as (
            -- Which of the adapters were drawn, and against how many that might have answered in their place.
            select c.ordinal, jsonb_agg(jsonb_build_object(
                'task', c.task, 'adapter', c.adapter, 'version', c.version, 'share', d.share,
                'draw', adapter_draw(a.job_id, c.sha256, d.share), 'among', r.adapters) order by c.place) as draws
            from chosen c
            join adapters d on d.id = c.adapter_id and d.share < 1
            join asked a on a.ordinal = c.ordinal
            cross join lateral (
                select count(*) as adapters from adapters b
                where b.base_model = d.base_model and b.task = d.task and b.state = 'active'
                  and case when a.selection = 'named' then b.name = a.named
                           else b.name <> all (a.exclude_adapters) and not b.trained_on && a.exclude_tasks end) r
            where r.adapters > 1
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
                'similarity', n.similarity) order by n.rank) as neighbours,
                sha256(convert_to(string_agg(x.sha256 || E'\n', '' order by n.rank), 'UTF8')) as examples_hash
            from unnest(neighbours) n
            join examples x on x.id = n.example_id
            group by n.ordinal
        )
        select job_ids[r.ordinal], jsonb_build_object(
            'method', m.name, 'merge', m.merge, 'calibrated', m.calibrated,
            'encoder', batch.encoder,
            'encoder_revision', batch.revision,
            'k', r.k, 'top_p', r.top_p, 'temperature', r.temperature,
            'exclude_tasks', to_jsonb(r.exclude_tasks), 'exclude_adapters', to_jsonb(r.exclude_adapters),
            'neighbours', coalesce(y.neighbours, '[]'),
            'examples_hash', coalesce(y.examples_hash, sha256(''))::text,
            'distribution', coalesce(d.distribution, '[]'),
            'mixture', coalesce(x.mixture, '[]'),
            'draws', coalesce(w.draws, '[]'),
            'milliseconds', share)
            || case when h.prior is null then '{}' else jsonb_build_object('prior', h.prior) end
        from asked r
        join jobs j on j.id = job_ids[r.ordinal]
        join methods m on m.name = j.method
        left join nearby y on y.ordinal = r.ordinal
        left join distributions d on d.ordinal = r.ordinal
        left join mixtures x on x.ordinal = r.ordinal
        left join draws w on w.ordinal = r.ordinal
        left join history_of_choices(job_ids) h on h.job_id = j.id
        order by r.ordinal;
    end loop;
end
$$;
comment on function loradex.decide_routes(uuid[], public.vector[]) is
    'Neighbours, task distribution and mixture of every job of a batch, in one statement; one JSON document per job.';
revoke execute on function loradex.decide_routes(uuid[], public.vector[]) from public;
grant execute on function loradex.decide_routes(uuid[], public.vector[])
    to loradex_reader, loradex_worker, loradex_admin;
