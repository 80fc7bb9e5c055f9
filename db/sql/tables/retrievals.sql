-- The query vector and the settings of each answer's retrieval.
create table loradex.retrievals (
    answer_id uuid not null,
    query public.vector not null,
    encoder text not null,
    encoder_revision text not null,
    k int not null,
    top_p float8 not null,
    temperature float8 not null,
    exclude_tasks text[] not null,
    exclude_adapters text[] not null,
    milliseconds float8 not null,
    examples_hash bytea not null,
    constraint retrievals_pkey primary key (answer_id),
    constraint retrievals_answer_id_fkey foreign key (answer_id) references loradex.answers(id) deferrable initially deferred
);
comment on table loradex.retrievals is
    'Query vector and settings of each answer; append-only.';
comment on column loradex.retrievals.answer_id is 'the answer';
comment on column loradex.retrievals.query is 'vector of the prompt';
comment on column loradex.retrievals.encoder is 'what made the vector';
comment on column loradex.retrievals.encoder_revision is 'its revision at that time';
comment on column loradex.retrievals.k is 'neighbours that were asked for';
comment on column loradex.retrievals.top_p is 'probability mass of the nucleus';
comment on column loradex.retrievals.temperature is 'softness of the votes';
comment on column loradex.retrievals.exclude_tasks is 'tasks that were not looked at';
comment on column loradex.retrievals.exclude_adapters is 'adapters that might not take part';
comment on column loradex.retrievals.milliseconds is 'time of this job''s share of the routing batch';
comment on column loradex.retrievals.examples_hash is 'SHA-256 of its neighbours'' content hashes, by rank, one per line: what their texts were';
