-- Vectors of examples, per encoder.
create table loradex.example_embeddings (
    example_id bigint not null,
    encoder text not null,
    task text not null,
    embedding public.vector not null,
    duplicate_of bigint,
    constraint example_embeddings_pkey primary key (example_id, encoder),
    constraint example_embeddings_direction_check check (public.vector_norm(embedding) between 0.01 and 10000),
    constraint example_embeddings_duplicate_of_encoder_fkey foreign key (duplicate_of, encoder)
        references loradex.example_embeddings(example_id, encoder) on delete set null (duplicate_of),
    constraint example_embeddings_encoder_fkey foreign key (encoder) references loradex.encoders(name),
    constraint example_embeddings_example_id_task_fkey foreign key (example_id, task) references loradex.examples(id, task) on delete cascade
);
comment on table loradex.example_embeddings is
    'Vectors of examples; one partial HNSW cosine index an encoder (see register_encoder).';
comment on column loradex.example_embeddings.example_id is 'the example';
comment on column loradex.example_embeddings.encoder is 'what made the vector';
comment on column loradex.example_embeddings.task is 'the example''s task, repeated for filters';
comment on column loradex.example_embeddings.embedding is 'the vector of the prompt';
comment on column loradex.example_embeddings.duplicate_of is 'near duplicate that is in the index for it; null: it is there itself';
create index example_embeddings_duplicate_index on loradex.example_embeddings (duplicate_of, encoder) where (duplicate_of is not null);
create index example_embeddings_encoder_task_index on loradex.example_embeddings (encoder, task, duplicate_of);
