-- LoRA adapters: what they are, where they lie, whether they are active.
create table loradex.adapters (
    id bigint generated always as identity,
    name text not null,
    version int not null,
    task text not null,
    base_model text not null,
    sha256 character(64) not null,
    uri text not null,
    rank int not null,
    alpha float8 not null,
    target_modules text[] not null,
    dtype text not null,
    parameters bigint not null,
    update_norm float8 not null,
    trained_on text[] not null default '{}',
    state text not null default 'staged',
    share float8 not null default 0,
    card jsonb not null default '{}',
    registered_at timestamptz not null default now(),
    retired_at timestamptz,
    constraint adapters_base_model_task_sha256_key unique (base_model, task, sha256),
    constraint adapters_name_version_key unique (name, version),
    constraint adapters_pkey primary key (id),
    constraint adapters_positive_check check (version > 0 and rank > 0 and parameters > 0),
    constraint adapters_retired_at_check check ((state = 'retired') = (retired_at is not null)),
    constraint adapters_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint adapters_share_check check (share between 0 and 1 and (state = 'active') = (share > 0)),
    constraint adapters_state_check check (state in ('active', 'staged', 'retired')),
    constraint adapters_base_model_fkey foreign key (base_model) references loradex.base_models(name),
    constraint adapters_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.adapters is
    'LoRA adapters; only state, share, retired_at and uri ever change. The active ones of a task share its questions.';
comment on column loradex.adapters.id is 'internal id';
comment on column loradex.adapters.name is 'what people call it, the same for all versions';
comment on column loradex.adapters.version is '1, 2, ... within the name';
comment on column loradex.adapters.task is 'task it answers: the one it was trained on';
comment on column loradex.adapters.base_model is 'model it was trained for';
comment on column loradex.adapters.sha256 is 'content hash of its two files, hex';
comment on column loradex.adapters.uri is 'where a worker finds the directory';
comment on column loradex.adapters.rank is 'LoRA rank r';
comment on column loradex.adapters.alpha is 'LoRA alpha; scaling is alpha / r';
comment on column loradex.adapters.target_modules is 'names of the layers it updates';
comment on column loradex.adapters.dtype is 'dtype of its tensors on disk';
comment on column loradex.adapters.parameters is 'numbers in its tensors';
comment on column loradex.adapters.update_norm is 'Frobenius norm of what its factors add';
comment on column loradex.adapters.trained_on is 'tasks it was trained on beside its own, as declared';
comment on column loradex.adapters.state is 'active: it answers; staged: it waits to be activated; retired: it answers no more';
comment on column loradex.adapters.share is
    'part of its task''s questions that are its; those of a task''s active adapters sum to 1; 0 unless active';
comment on column loradex.adapters.card is 'how it was trained';
comment on column loradex.adapters.registered_at is 'when it was registered';
comment on column loradex.adapters.retired_at is 'when it was retired; null unless retired';
create index adapters_active_index on loradex.adapters (base_model, task) where (state = 'active');
