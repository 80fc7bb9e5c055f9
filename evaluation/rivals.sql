-- How LoRAuter and LoraRetriever choose adapters: the tasks whose mean vectors are nearest to the query.
-- `softness` is the temperature of the softmax over their similarities; null gives each the same weight.
with allowed as materialized (
    select a.name as adapter, a.task, a.sha256, a.uri, avg(x.embedding::vector) as centre
    from loradex.example_embeddings x
    join loradex.adapters a on a.task = x.task and a.base_model = %(base_model)s and a.state = 'active'
    where x.encoder = %(encoder)s
      and x.task <> all (%(exclude_tasks)s::text[]) and a.name <> all (%(exclude_adapters)s::text[])
    group by a.id
), compared as (
    select q.ordinal, a.*, 1 - (a.centre <=> q.query) as similarity,
           row_number() over (partition by q.ordinal order by a.centre <=> q.query, a.task) as rank
    from unnest(%(queries)b::vector[]) with ordinality q(query, ordinal)
    cross join allowed a
), chosen as (
    select c.*, case when %(softness)s::float8 is null then 1
                     else exp((c.similarity - max(c.similarity) over (partition by c.ordinal)) / %(softness)s::float8)
                end as mass
    from compared c
    where c.rank <= %(tasks)s
), weighed as (
    select c.*, c.mass / sum(c.mass) over (partition by c.ordinal) as weight
    from chosen c
)
select jsonb_agg(jsonb_build_object('adapter', w.adapter, 'task', w.task, 'sha256', w.sha256, 'uri', w.uri,
                                    'weight', w.weight) order by w.rank)
from weighed w
group by w.ordinal
order by w.ordinal
