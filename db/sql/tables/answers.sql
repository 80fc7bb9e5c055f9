-- Answers with everything that led to them, one row each: append-only, chained by hashes, written by record_answer, and
-- only what tells about whoever asked can be taken out of them again, by erase_jobs.
-- What was a list is an array, in the order of ranks; the views retrievals, retrieved_examples, retrieved_tasks,
-- merge_results and merge_components show it as rows. Answers refer to nothing, so that evidence outlives what it names,
-- and lie in one partition per month of their ids, which are made as they are needed (make_partition).
create table loradex.answers (
    id uuid not null,
    job_id uuid not null,
    owner_id bigint not null,
    owner text not null,
    attempt int not null,
    position bigint not null,
    prompt text,
    messages jsonb,
    text text,
    choice text,
    choices text[],
    stop text[],
    held_to jsonb,
    scores float8[],
    token_ids int[],
    logprobs jsonb,
    prompt_tokens int not null,
    output_tokens int not null,
    base_model text not null,
    base_model_revision text not null,
    generation jsonb not null,
    timings jsonb not null,
    versions jsonb not null,
    worker text not null,
    created_at timestamptz not null,
    query public.vector,
    encoder text not null,
    encoder_revision text not null,
    k int not null,
    top_p float8 not null,
    temperature float8 not null,
    exclude_tasks text[] not null,
    exclude_adapters text[] not null,
    routing_milliseconds float8 not null,
    examples_hash bytea not null,
    example_ids bigint[] not null,
    example_refs text[] not null,
    example_tasks text[] not null,
    similarities float8[] not null,
    tasks text[] not null,
    task_neighbours int[] not null,
    task_similarities float8[] not null,
    probabilities float8[] not null,
    task_weights float8[] not null,
    in_nucleus boolean[] not null,
    recipe_hash bytea not null,
    method text not null,
    merge text not null,
    calibrated boolean not null,
    density float8 not null,
    merge_dtype text not null,
    update_norm float8 not null,
    sign_conflict float8,
    merge_milliseconds float8 not null,
    adapter_ids bigint[] not null,
    adapters text[] not null,
    adapter_versions int[] not null,
    adapter_tasks text[] not null,
    adapter_hashes bytea[] not null,
    adapter_uris text[] not null,
    weights float8[] not null,
    adapter_norms float8[] not null,
    salt bytea,
    commitments jsonb,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint answers_pkey primary key (id),
    constraint answers_erased_check check (
        case when commitments is null
            then num_nulls(prompt, text, token_ids, query, salt) = 0
            else num_nonnulls(prompt, messages, choices, stop, held_to, text, choice, token_ids, logprobs, query, salt) = 0 end)
) partition by range (id);
comment on table loradex.answers is
    'Answers and all that led to them, one row each, append-only and hash-chained; partitioned by month.';
comment on column loradex.answers.id is 'the answer; its first 48 bits are the time, so that ids grow';
comment on column loradex.answers.job_id is 'the job it answers; one answer a job';
comment on column loradex.answers.owner_id is 'who asked';
comment on column loradex.answers.owner is 'name of the login that asked';
comment on column loradex.answers.attempt is 'which attempt at the job succeeded';
comment on column loradex.answers.position is 'place in the chain, 1, 2, ... no gaps';
comment on column loradex.answers.prompt is
    'the question as it was asked, of a conversation the text that was embedded; null once it was erased';
comment on column loradex.answers.messages is 'the conversation as it was asked; null: there was a prompt alone';
comment on column loradex.answers.text is 'the answer''s text';
comment on column loradex.answers.choice is 'the choice that won, for choose';
comment on column loradex.answers.choices is 'the choices there were, for choose';
comment on column loradex.answers.stop is 'the stop strings there were';
comment on column loradex.answers.held_to is 'the json_schema or the regex that the text had to fit';
comment on column loradex.answers.scores is 'score of each choice, in the job''s order';
comment on column loradex.answers.token_ids is 'tokens of the answer';
comment on column loradex.answers.logprobs is
    'of each token its id, text, log-probability and the likeliest tokens, where the job asks for them';
comment on column loradex.answers.prompt_tokens is 'tokens of the framed prompt';
comment on column loradex.answers.output_tokens is 'tokens of the answer';
comment on column loradex.answers.base_model is 'model that answered';
comment on column loradex.answers.base_model_revision is 'its revision as the worker found it';
comment on column loradex.answers.generation is 'generation settings, seed, frame, device, dtype, attention, quantization, device_map';
comment on column loradex.answers.timings is 'milliseconds of every stage';
comment on column loradex.answers.versions is 'versions of the programs that took part';
comment on column loradex.answers.worker is 'who answered';
comment on column loradex.answers.created_at is 'when it was recorded';
comment on column loradex.answers.query is 'vector of the prompt';
comment on column loradex.answers.encoder is 'what made the vector';
comment on column loradex.answers.encoder_revision is 'its revision at that time';
comment on column loradex.answers.k is 'neighbours that were asked for';
comment on column loradex.answers.top_p is 'probability mass of the nucleus';
comment on column loradex.answers.temperature is 'softness of the votes';
comment on column loradex.answers.exclude_tasks is 'tasks that were left out';
comment on column loradex.answers.exclude_adapters is 'adapters that might not take part';
comment on column loradex.answers.routing_milliseconds is 'time of this job''s share of the routing batch';
comment on column loradex.answers.examples_hash is 'SHA-256 of its neighbours'' content hashes, by rank, one per line: what their texts were';
comment on column loradex.answers.example_ids is 'the neighbours, nearest first';
comment on column loradex.answers.example_refs is 'their ids in the data set';
comment on column loradex.answers.example_tasks is 'their tasks';
comment on column loradex.answers.similarities is 'cosine of each and the query';
comment on column loradex.answers.tasks is 'tasks of the neighbours, likeliest first';
comment on column loradex.answers.task_neighbours is 'how many neighbours are of each';
comment on column loradex.answers.task_similarities is 'cosine of each one''s nearest';
comment on column loradex.answers.probabilities is 'share of the votes of each; sums to 1';
comment on column loradex.answers.task_weights is 'share after the cut; sums to 1, 0 outside the nucleus';
comment on column loradex.answers.in_nucleus is 'whether each survived the cut';
comment on column loradex.answers.recipe_hash is 'recipe_hash of merge, calibrated, density, dtype and components';
comment on column loradex.answers.method is 'the job''s method';
comment on column loradex.answers.merge is 'how the factors became one update';
comment on column loradex.answers.calibrated is 'whether it was rescaled to the weighted mean norm of its adapters';
comment on column loradex.answers.density is 'share of entries that trimming kept';
comment on column loradex.answers.merge_dtype is 'dtype the factors were merged in';
comment on column loradex.answers.update_norm is 'Frobenius norm of the merged update';
comment on column loradex.answers.sign_conflict is 'share of entries whose signs disagree; null where the method does not look';
comment on column loradex.answers.merge_milliseconds is 'time of the merge';
comment on column loradex.answers.adapter_ids is 'adapters of the mixture, heaviest first';
comment on column loradex.answers.adapters is 'their names';
comment on column loradex.answers.adapter_versions is 'their versions';
comment on column loradex.answers.adapter_tasks is 'their tasks';
comment on column loradex.answers.adapter_hashes is 'their content hashes';
comment on column loradex.answers.adapter_uris is 'where they were found';
comment on column loradex.answers.weights is 'their weights; sum to 1';
comment on column loradex.answers.adapter_norms is 'Frobenius norm of each one''s own update';
comment on column loradex.answers.salt is 'random; keeps what is erased from being guessed from its commitments';
comment on column loradex.answers.commitments is 'of an erased answer: column to salted hash of what it held';
comment on column loradex.answers.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.answers.chain_hash is 'SHA-256 of previous_hash and answer_canonical(answer)';
create index answers_job_id_index on loradex.answers (job_id);
create index answers_owner_index on loradex.answers (owner_id, id);
create index answers_position_index on loradex.answers ("position");
