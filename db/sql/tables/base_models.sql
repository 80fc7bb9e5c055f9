-- Causal language models that adapters were trained for.
create table loradex.base_models (
    name text not null,
    revision text not null,
    context_length int not null,
    frame text not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    modules jsonb,
    chat_template text,
    system_role boolean not null default false,
    generation_defaults jsonb,
    constraint base_models_pkey primary key (name),
    constraint base_models_context_length_check check (context_length > 0),
    constraint base_models_frame_check check (position('{prompt}' in frame) > 0)
);
comment on table loradex.base_models is
    'Causal language models that adapters were trained for.';
comment on column loradex.base_models.name is 'what jobs and adapters call it';
comment on column loradex.base_models.revision is 'content hash or hub revision of the weights';
comment on column loradex.base_models.context_length is 'tokens of prompt and answer together';
comment on column loradex.base_models.frame is 'text the model reads, with {prompt} in place of the prompt';
comment on column loradex.base_models.created_at is 'when the row was written';
comment on column loradex.base_models.retired_at is 'since when no job may name it; null: jobs may';
comment on column loradex.base_models.modules is
    'modules an adapter may change, with the sizes [d_out, d_in] of their weights; null: nobody told yet';
comment on column loradex.base_models.chat_template is
    'Jinja template that conversations are read by; null: they are refused, but for a single message';
comment on column loradex.base_models.system_role is 'whether it takes a system message';
comment on column loradex.base_models.generation_defaults is
    'settings its texts are written with where a job does not say them, of its own generation_config.json; null: none';
