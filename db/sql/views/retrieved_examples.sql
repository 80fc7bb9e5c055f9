-- The neighbours each answer was routed by.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrieved_examples with (security_invoker = true) as
select a.id as answer_id, n.rank::int as rank, n.example_id, n.source_ref, n.task, n.similarity
from loradex.answers a
cross join lateral unnest(a.example_ids, a.example_refs, a.example_tasks, a.similarities)
    with ordinality n(example_id, source_ref, task, similarity, rank);
comment on view loradex.retrieved_examples is
    'Neighbours of each answer''s query, nearest first.';
comment on column loradex.retrieved_examples.answer_id is 'the answer';
comment on column loradex.retrieved_examples.rank is '1 is the nearest';
comment on column loradex.retrieved_examples.example_id is 'the example';
comment on column loradex.retrieved_examples.source_ref is 'its id in the data set';
comment on column loradex.retrieved_examples.task is 'its task';
comment on column loradex.retrieved_examples.similarity is 'cosine of example and query';
revoke all on loradex.retrieved_examples from public;
grant select on loradex.retrieved_examples to loradex_reader, loradex_client, loradex_worker, loradex_admin;
