-- How near the nearest example was to each question: the out-of-domain signal. The edge of the domain is how near
-- examples are to each other (in_domain_similarity), found anew for each encoder when the view is read. Of fewer than
-- two examples there is no edge, and nothing that has a neighbour lies beyond it.
-- Rights: those of whoever asks.
create or replace view loradex.retrieval_coverage with (security_invoker = true) as
with edge as materialized (
    select e.name as encoder, loradex.in_domain_similarity(e.name) as similarity from loradex.encoders e
)
select
    a.id as answer_id,
    a.created_at,
    a.prompt,
    a.encoder,
    a.example_tasks[1] as nearest_task,
    a.similarities[1] as nearest_similarity,
    percent_rank() over (partition by a.encoder order by a.similarities[1] nulls first) as percentile,
    edge.similarity as in_domain_similarity,
    case when a.similarities[1] is null then true
         else coalesce(a.similarities[1] < edge.similarity, false) end as out_of_domain
from loradex.answers a
join edge on edge.encoder = a.encoder;
comment on view loradex.retrieval_coverage is
    'Per answer: similarity of its nearest example, its percentile, and whether it lies out of the library''s domain.';
comment on column loradex.retrieval_coverage.answer_id is 'the answer';
comment on column loradex.retrieval_coverage.created_at is 'when it was recorded';
comment on column loradex.retrieval_coverage.prompt is 'the question';
comment on column loradex.retrieval_coverage.encoder is 'what made the vectors';
comment on column loradex.retrieval_coverage.nearest_task is 'task of the nearest example';
comment on column loradex.retrieval_coverage.nearest_similarity is 'cosine of the nearest example';
comment on column loradex.retrieval_coverage.percentile is 'share of answers that were farther, 0 to 1; 0 where no example was found';
comment on column loradex.retrieval_coverage.in_domain_similarity is 'edge of the domain: 5th percentile among examples themselves; null: there are fewer than two';
comment on column loradex.retrieval_coverage.out_of_domain is 'whether the nearest example lies beyond the edge, or there is none';
revoke all on loradex.retrieval_coverage from public;
grant select on loradex.retrieval_coverage to loradex_reader, loradex_worker, loradex_admin;
