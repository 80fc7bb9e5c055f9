-- How people rated answers: rows are added by rate_answer and never changed; of an owner's ratings of an answer the last
-- one counts. Refers to nothing, as answers do, so that it outlives their archives; the hash says which link was rated.
create table loradex.feedback (
    id bigint generated always as identity,
    answer_id uuid not null,
    chain_hash bytea not null,
    owner_id bigint not null,
    owner text not null,
    login text not null,
    rating smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint feedback_pkey primary key (id),
    constraint feedback_rating_check check (rating in (-1, 1))
);
comment on table loradex.feedback is
    'Ratings of answers by whoever asked; rows are added, never changed, and the last one of an owner counts.';
comment on column loradex.feedback.id is 'grows with each rating';
comment on column loradex.feedback.answer_id is 'the answer that was rated';
comment on column loradex.feedback.chain_hash is 'its link in the audit chain then: what exactly was rated';
comment on column loradex.feedback.owner_id is 'who rated it, and had asked';
comment on column loradex.feedback.owner is 'name of that owner';
comment on column loradex.feedback.login is 'the login that wrote it';
comment on column loradex.feedback.rating is '1: good, -1: bad';
comment on column loradex.feedback.created_at is 'when it was rated';
create index feedback_answer_index on loradex.feedback (answer_id, id);
create index feedback_owner_index on loradex.feedback (owner_id, id);
