-- Notes that say what was erased, when, why and by whom: links of the chain, as answers are. Written by erase_jobs only.
create table loradex.erasures (
    id uuid not null,
    position bigint not null,
    answers uuid[] not null,
    reason text not null,
    asked_by text not null,
    login text not null,
    created_at timestamptz not null,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint erasures_pkey primary key (id),
    constraint erasures_position_key unique ("position")
);
comment on table loradex.erasures is
    'Notes of what was erased, in the chain of answers; append-only.';
comment on column loradex.erasures.id is 'the note';
comment on column loradex.erasures.position is 'place in the chain, which answers and notes share';
comment on column loradex.erasures.answers is 'the answers whose texts and vectors were erased';
comment on column loradex.erasures.reason is 'why';
comment on column loradex.erasures.asked_by is 'who wanted it';
comment on column loradex.erasures.login is 'name of the login that did it';
comment on column loradex.erasures.created_at is 'when';
comment on column loradex.erasures.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.erasures.chain_hash is 'SHA-256 of previous_hash and erasure_canonical(erasure)';
