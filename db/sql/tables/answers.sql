-- Answers: append-only, chained by hashes. Written by record_answer only.
create table loradex.answers (
    id uuid not null default gen_random_uuid(),
    job_id uuid not null,
    owner_id bigint not null,
    owner text not null,
    attempt int not null,
    position bigint not null,
    prompt text not null,
    text text not null,
    choice text,
    scores float8[],
    token_ids int[] not null,
    prompt_tokens int not null,
    output_tokens int not null,
    base_model text not null,
    base_model_revision text not null,
    generation jsonb not null,
    timings jsonb not null,
    versions jsonb not null,
    worker text not null,
    created_at timestamptz not null default now(),
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint answers_chain_hash_key unique (chain_hash),
    constraint answers_job_id_key unique (job_id),
    constraint answers_pkey primary key (id),
    constraint answers_position_key unique ("position"),
    constraint answers_owner_id_fkey foreign key (owner_id) references loradex.owners(id),
    constraint answers_job_id_fkey foreign key (job_id) references loradex.jobs(id)
);
comment on table loradex.answers is
    'Answers, append-only and hash-chained; with their child tables they are the evidence.';
comment on column loradex.answers.id is 'the answer';
comment on column loradex.answers.job_id is 'the job it answers; one answer a job';
comment on column loradex.answers.owner_id is 'who asked';
comment on column loradex.answers.owner is 'name of the login that asked';
comment on column loradex.answers.attempt is 'which attempt at the job succeeded';
comment on column loradex.answers.position is 'place in the chain, 1, 2, ... no gaps';
comment on column loradex.answers.prompt is 'the question as it was asked';
comment on column loradex.answers.text is 'the answer''s text';
comment on column loradex.answers.choice is 'the choice that won, for choose';
comment on column loradex.answers.scores is 'score of each choice, in the job''s order';
comment on column loradex.answers.token_ids is 'tokens of the answer';
comment on column loradex.answers.prompt_tokens is 'tokens of the framed prompt';
comment on column loradex.answers.output_tokens is 'tokens of the answer';
comment on column loradex.answers.base_model is 'model that answered';
comment on column loradex.answers.base_model_revision is 'its revision as the worker found it';
comment on column loradex.answers.generation is 'generation settings, seed, frame, device, dtype';
comment on column loradex.answers.timings is 'milliseconds of every stage';
comment on column loradex.answers.versions is 'versions of the programs that took part';
comment on column loradex.answers.worker is 'who answered';
comment on column loradex.answers.created_at is 'when it was recorded';
comment on column loradex.answers.previous_hash is 'chain_hash of the answer before; zeros for the first';
comment on column loradex.answers.chain_hash is 'SHA-256 of previous_hash and answer_canonical(id)';
create index answers_created_at_index on loradex.answers (created_at);
create index answers_owner_index on loradex.answers (owner_id);
