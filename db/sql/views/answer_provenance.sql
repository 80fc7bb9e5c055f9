-- One row an answer: what was asked, what retrieval saw, what was composed, what came out, and what it took.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.answer_provenance with (security_invoker = true) as
select
    a.id as answer_id,
    a.job_id,
    a.created_at,
    a.owner,
    a.prompt,
    a.text as answer,
    a.method,
    a.tasks[1] as top_task,
    a.probabilities[1] as top_probability,
    j.expected_task,
    a.similarities[1] as nearest_similarity,
    nullif(a.adapters, '{}') as adapters,
    nullif(a.weights, '{}') as weights,
    a.encoder,
    a.k,
    a.top_p,
    a.temperature,
    a.base_model,
    a.sign_conflict,
    a.routing_milliseconds as routing_milliseconds,
    (a.timings ->> 'total')::float8 as total_milliseconds,
    a.prompt_tokens,
    a.output_tokens,
    a.worker,
    a.attempt,
    a.position,
    loradex.finish_reason(a.generation, a.output_tokens) as finish_reason
from loradex.answers a
left join loradex.jobs j on j.id = a.job_id;
comment on view loradex.answer_provenance is
    'One row an answer: question, nearest example, likeliest task, mixture, settings, cost. Start here.';
comment on column loradex.answer_provenance.answer_id is 'the answer';
comment on column loradex.answer_provenance.job_id is 'its job';
comment on column loradex.answer_provenance.created_at is 'when it was recorded';
comment on column loradex.answer_provenance.owner is 'database user who asked';
comment on column loradex.answer_provenance.prompt is 'the question';
comment on column loradex.answer_provenance.answer is 'the answer''s text';
comment on column loradex.answer_provenance.method is 'how adapters were mixed';
comment on column loradex.answer_provenance.top_task is 'likeliest task';
comment on column loradex.answer_provenance.top_probability is 'its share of the votes';
comment on column loradex.answer_provenance.expected_task is 'true task where known';
comment on column loradex.answer_provenance.nearest_similarity is 'cosine of the nearest example';
comment on column loradex.answer_provenance.adapters is 'adapters of the mixture, heaviest first';
comment on column loradex.answer_provenance.weights is 'their weights, in the same order';
comment on column loradex.answer_provenance.encoder is 'what made the query vector';
comment on column loradex.answer_provenance.k is 'neighbours that voted';
comment on column loradex.answer_provenance.top_p is 'probability mass of the nucleus';
comment on column loradex.answer_provenance.temperature is 'softness of the votes';
comment on column loradex.answer_provenance.base_model is 'model that answered';
comment on column loradex.answer_provenance.sign_conflict is 'share of entries whose signs disagree';
comment on column loradex.answer_provenance.routing_milliseconds is 'time of routing';
comment on column loradex.answer_provenance.total_milliseconds is 'time from claim to answer';
comment on column loradex.answer_provenance.prompt_tokens is 'tokens of the framed prompt';
comment on column loradex.answer_provenance.output_tokens is 'tokens of the answer';
comment on column loradex.answer_provenance.worker is 'who answered';
comment on column loradex.answer_provenance.attempt is 'which attempt at the job';
comment on column loradex.answer_provenance.position is 'place in the audit chain';
comment on column loradex.answer_provenance.finish_reason is 'choice, stop or length: why the answer ended';
revoke all on loradex.answer_provenance from public;
grant select on loradex.answer_provenance to loradex_reader, loradex_client, loradex_worker, loradex_admin;
