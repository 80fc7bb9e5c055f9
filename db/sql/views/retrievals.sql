-- The query vector and the settings of each answer's retrieval.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.retrievals with (security_invoker = true) as
select
    a.id as answer_id,
    a.query,
    a.encoder,
    a.encoder_revision,
    a.k,
    a.top_p,
    a.temperature,
    a.exclude_tasks,
    a.exclude_adapters,
    a.routing_milliseconds as milliseconds,
    a.examples_hash
from loradex.answers a;
comment on view loradex.retrievals is
    'Query vector and settings of each answer.';
comment on column loradex.retrievals.answer_id is 'the answer';
comment on column loradex.retrievals.query is 'vector of the prompt';
comment on column loradex.retrievals.encoder is 'what made the vector';
comment on column loradex.retrievals.encoder_revision is 'its revision at that time';
comment on column loradex.retrievals.k is 'neighbours that were asked for';
comment on column loradex.retrievals.top_p is 'probability mass of the nucleus';
comment on column loradex.retrievals.temperature is 'softness of the votes';
comment on column loradex.retrievals.exclude_tasks is 'tasks that were left out';
comment on column loradex.retrievals.exclude_adapters is 'adapters that might not take part';
comment on column loradex.retrievals.milliseconds is 'time of this job''s share of the routing batch';
comment on column loradex.retrievals.examples_hash is 'SHA-256 of its neighbours'' content hashes, by rank, one per line: what their texts were';
revoke all on loradex.retrievals from public;
grant select on loradex.retrievals to loradex_reader, loradex_client, loradex_worker, loradex_admin;
