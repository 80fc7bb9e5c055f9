-- When the chain was last found intact, by login: for monitors, and no evidence. Written by note_verification only.
create table loradex.verifications (
    login text not null,
    verified_at timestamptz not null default now(),
    position bigint not null,
    constraint verifications_pkey primary key (login)
);
comment on table loradex.verifications is
    'When each login last found the chain intact; only note_verification writes here.';
comment on column loradex.verifications.login is 'who looked';
comment on column loradex.verifications.verified_at is 'when it was found intact last';
comment on column loradex.verifications.position is 'position of the head at that time';
