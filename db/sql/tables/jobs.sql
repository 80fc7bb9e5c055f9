-- One question with its settings, from queued to its end: done, failed, cancelled or expired. Written by the queue's
-- functions only.
create table loradex.jobs (
    id uuid not null default uuidv7(),
    owner_id bigint not null,
    owner text not null,
    api_key_id bigint,
    kind text not null,
    prompt text not null,
    messages jsonb,
    choices text[],
    base_model text not null,
    encoder text not null,
    method text not null,
    adapter text,
    k int not null,
    top_p float8 not null,
    temperature float8 not null,
    exclude_tasks text[] not null,
    exclude_adapters text[] not null,
    settings jsonb not null,
    expected_task text,
    idempotency_key text,
    asked bytea,
    metadata jsonb,
    traceparent text,
    pieces_key uuid,
    priority smallint not null default 0,
    deadline float8,
    queue_position bigint generated always as identity,
    turn bigint not null default 1,
    state text not null default 'queued',
    attempt int not null default 0,
    releases int not null default 0,
    lease_until timestamptz,
    worker text,
    claim_hash bytea,
    held_seconds float8 not null default 0,
    error_code text,
    error_message text,
    cancelled_by text,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    answer_id uuid,
    erased_at timestamptz,
    constraint jobs_pkey primary key (id),
    constraint jobs_choices_check check ((kind = 'choose') = (choices is not null)),
    constraint jobs_error_check check ((state in ('failed', 'cancelled', 'expired')) = (error_code is not null)),
    constraint jobs_cancelled_check check ((state = 'cancelled') = (cancelled_by is not null)),
    constraint jobs_kind_check check (kind in ('generate', 'choose')),
    constraint jobs_lease_check check ((state = 'running') = (lease_until is not null)),
    constraint jobs_state_check check (state in ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')),
    constraint jobs_base_model_fkey foreign key (base_model) references loradex.base_models(name),
    constraint jobs_encoder_fkey foreign key (encoder) references loradex.encoders(name),
    constraint jobs_expected_task_fkey foreign key (expected_task) references loradex.tasks(name),
    constraint jobs_owner_id_fkey foreign key (owner_id) references loradex.owners(id),
    constraint jobs_method_fkey foreign key (method) references loradex.methods(name)
)
-- Each job is written anew two or three times; on its own page that takes a fraction of the WAL.
with (fillfactor = 70);
comment on table loradex.jobs is
    'Questions and how far they are; only the queue functions write here.';
comment on column loradex.jobs.id is 'the job';
comment on column loradex.jobs.owner_id is 'who asked';
comment on column loradex.jobs.owner is 'name of the login, or of the owner of the API key, that asked';
comment on column loradex.jobs.api_key_id is 'the API key it was handed in with; null: a login asked by itself';
comment on column loradex.jobs.kind is 'generate (text) or choose (rank the choices)';
comment on column loradex.jobs.prompt is
    'the question, without the base model''s frame; of a conversation the text that neighbours are searched for';
comment on column loradex.jobs.messages is 'the conversation: an array of role and content; null: there is a prompt alone';
comment on column loradex.jobs.choices is 'answers to rank, for choose';
comment on column loradex.jobs.base_model is 'model that answers';
comment on column loradex.jobs.encoder is 'encoder for retrieval';
comment on column loradex.jobs.method is 'how adapters are mixed';
comment on column loradex.jobs.adapter is 'the adapter of method own';
comment on column loradex.jobs.k is 'neighbours that vote';
comment on column loradex.jobs.top_p is 'probability mass of the tasks that are mixed';
comment on column loradex.jobs.temperature is 'softness of the neighbours'' votes';
comment on column loradex.jobs.exclude_tasks is 'tasks left out, with their examples and the adapters trained on them';
comment on column loradex.jobs.exclude_adapters is 'adapters that may not take part';
comment on column loradex.jobs.settings is 'what else the job says: the settings that have no column here, complete with defaults';
comment on column loradex.jobs.expected_task is 'true task where known';
comment on column loradex.jobs.idempotency_key is 'asking again with it gives this job';
comment on column loradex.jobs.asked is
    'hash of what its asker said of it, where it has an idempotency key: asking again is compared by it';
comment on column loradex.jobs.metadata is 'what the asker noted on it: an object of texts; null if nothing';
comment on column loradex.jobs.traceparent is
    'the W3C trace context that its spans belong to; null: none was told';
comment on column loradex.jobs.pieces_key is
    'where Redis has pieces of its text while it is written, which whoever knows it can read; null: nobody listens';
comment on column loradex.jobs.priority is 'higher goes first';
comment on column loradex.jobs.deadline is 'seconds after which it ends as expired instead of being answered; null: never';
comment on column loradex.jobs.queue_position is 'order of arrival';
comment on column loradex.jobs.turn is
    'its place among those of its priority and models: owners who wait take turns, and each owner''s jobs go in their order';
comment on column loradex.jobs.state is 'queued, running, done, failed, cancelled or expired';
comment on column loradex.jobs.attempt is 'times claimed; fences off late writes';
comment on column loradex.jobs.releases is 'times given back unharmed; these attempts do not count';
comment on column loradex.jobs.lease_until is 'when others may claim a running job';
comment on column loradex.jobs.worker is 'who claimed it last';
comment on column loradex.jobs.claim_hash is 'hash of the login and token that claimed it last (claim_hash)';
comment on column loradex.jobs.held_seconds is 'seconds, to the microsecond, that earlier claims held it';
comment on column loradex.jobs.error_code is 'why it ended without an answer, for programs';
comment on column loradex.jobs.error_message is 'why it ended without an answer, for people';
comment on column loradex.jobs.cancelled_by is
    'login, or owner of the API key, that cancelled it; `erased` once it was erased';
comment on column loradex.jobs.created_at is 'when it was accepted';
comment on column loradex.jobs.started_at is 'when it was claimed last';
comment on column loradex.jobs.finished_at is 'when it ended, however it did';
comment on column loradex.jobs.expires_at is 'its deadline as a time; null: none';
comment on column loradex.jobs.answer_id is 'its answer, once it is done';
comment on column loradex.jobs.erased_at is 'when its texts and its answer''s were erased';
create index jobs_owner_index on loradex.jobs (owner_id, created_at, id);
create index jobs_finished_at_index on loradex.jobs (finished_at) where (finished_at is not null);
create index jobs_unanswered_index on loradex.jobs (finished_at) where (state in ('failed', 'cancelled', 'expired'));
create index jobs_queued_index on loradex.jobs (priority desc, turn, queue_position) where (state = 'queued');
create index jobs_turn_index on loradex.jobs (owner_id, base_model, encoder, priority, turn) where (state = 'queued');
create index jobs_api_key_index on loradex.jobs (api_key_id) where (state = 'queued' and api_key_id is not null);
create index jobs_running_index on loradex.jobs (lease_until) where (state = 'running');
create index jobs_expires_index on loradex.jobs (expires_at) where (expires_at is not null and state in ('queued', 'running'));
create unique index jobs_idempotency_index on loradex.jobs (owner_id, idempotency_key) where (idempotency_key is not null);
