-- Sentence encoders; `register_encoder` also makes their index.
create table loradex.encoders (
    name text not null,
    revision text not null,
    dimensions int not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    constraint encoders_pkey primary key (name),
    constraint encoders_dimensions_check check (dimensions between 1 and 4000)
);
comment on table loradex.encoders is
    'Sentence encoders; each has one partial HNSW index on example_embeddings.';
comment on column loradex.encoders.name is 'what jobs and vectors call it';
comment on column loradex.encoders.revision is 'content hash or hub revision of the weights';
comment on column loradex.encoders.dimensions is 'length of its vectors';
comment on column loradex.encoders.created_at is 'when the row was written';
comment on column loradex.encoders.retired_at is 'since when no job may name it; null: jobs may';
