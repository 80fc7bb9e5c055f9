-- Texts that somebody waits for the vectors of, and the vectors until they are taken: minutes at most. Unlogged, since after
-- a crash whoever waited asks again; only its five functions come here.
create unlogged table loradex.embeddings (
    id uuid not null,
    owner_id bigint not null,
    encoder text not null,
    texts text[],
    vectors public.vector[],
    tokens int,
    refusal text,
    created_at timestamptz not null,
    claimed_at timestamptz,
    constraint embeddings_pkey primary key (id),
    constraint embeddings_state_check check (num_nonnulls(texts, vectors, refusal) = 1),
    constraint embeddings_encoder_fkey foreign key (encoder) references loradex.encoders(name)
);
comment on table loradex.embeddings is
    'Texts that wait for their vectors, and vectors that wait to be taken; only its functions come here.';
comment on column loradex.embeddings.id is 'the request';
comment on column loradex.embeddings.owner_id is 'who asked, and alone may take the vectors';
comment on column loradex.embeddings.encoder is 'what makes the vectors';
comment on column loradex.embeddings.texts is 'the texts, until a worker has read them';
comment on column loradex.embeddings.vectors is 'a vector for each text, in order';
comment on column loradex.embeddings.tokens is 'tokens that were read';
comment on column loradex.embeddings.refusal is 'why there are no vectors';
comment on column loradex.embeddings.created_at is 'when it was asked; after ten minutes it is deleted';
comment on column loradex.embeddings.claimed_at is 'when a worker took it last; after two minutes another may';
create index embeddings_created_at_index on loradex.embeddings (created_at);
