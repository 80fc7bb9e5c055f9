-- Answers that somebody wants computed once more, and how the two compare until that is taken: minutes at most. Unlogged,
-- since after a crash whoever waited asks again; only its seven functions come here. It is no part of the chain.
create unlogged table loradex.replays (
    id uuid not null,
    owner_id bigint not null,
    answer_id uuid not null,
    base_model text not null,
    numbers text not null,
    told jsonb,
    error_code text,
    error_message text,
    worker text,
    claims int not null default 0,
    created_at timestamptz not null,
    claimed_at timestamptz,
    constraint replays_pkey primary key (id),
    constraint replays_state_check check (
        num_nonnulls(told, error_code) <= 1 and (error_code is null) = (error_message is null))
);
comment on table loradex.replays is
    'Answers that wait to be computed once more, and comparisons that wait to be taken; only its functions come here.';
comment on column loradex.replays.id is 'the request';
comment on column loradex.replays.owner_id is 'who asked, and alone may take the comparison';
comment on column loradex.replays.answer_id is 'the answer, one of this owner''s';
comment on column loradex.replays.base_model is 'the model that answered; its workers alone replay';
comment on column loradex.replays.numbers is 'what it computed in, as workers announce it (workers.dtype)';
comment on column loradex.replays.told is 'how the answer and its replay compare';
comment on column loradex.replays.error_code is 'why it could not be replayed, for programs';
comment on column loradex.replays.error_message is 'the same for people';
comment on column loradex.replays.worker is 'who took it last';
comment on column loradex.replays.claims is 'how often a worker took it';
comment on column loradex.replays.created_at is 'when it was asked; after ten minutes it is deleted';
comment on column loradex.replays.claimed_at is 'the worker''s last sign of life; after 30 seconds another may take it';
create index replays_created_at_index on loradex.replays (created_at);
