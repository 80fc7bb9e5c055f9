-- The task distribution each answer was routed by.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrieved_tasks with (security_invoker = true) as
select a.id as answer_id, t.rank::int as rank, t.task, t.neighbours, t.best_similarity, t.probability, t.weight,
       t.in_nucleus
from loradex.answers a
cross join lateral unnest(
    a.tasks, a.task_neighbours, a.task_similarities, a.probabilities, a.task_weights, a.in_nucleus)
    with ordinality t(task, neighbours, best_similarity, probability, weight, in_nucleus, rank);
comment on view loradex.retrieved_tasks is
    'Task distribution of each answer, before and after truncation.';
comment on column loradex.retrieved_tasks.answer_id is 'the answer';
comment on column loradex.retrieved_tasks.rank is '1 is the likeliest';
comment on column loradex.retrieved_tasks.task is 'the task';
comment on column loradex.retrieved_tasks.neighbours is 'how many neighbours are of this task';
comment on column loradex.retrieved_tasks.best_similarity is 'cosine of its nearest';
comment on column loradex.retrieved_tasks.probability is 'share of the votes; sums to 1';
comment on column loradex.retrieved_tasks.weight is 'share after the cut; sums to 1, 0 outside the nucleus';
comment on column loradex.retrieved_tasks.in_nucleus is 'whether it survived the cut';
revoke all on loradex.retrieved_tasks from public;
grant select on loradex.retrieved_tasks to loradex_reader, loradex_client, loradex_worker, loradex_admin;
