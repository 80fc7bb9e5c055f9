-- Notes that say which part of the chain was archived and taken out of the database: links of the chain, as answers are.
-- Written by drop_archived only.
create table loradex.archives (
    id uuid not null,
    position bigint not null,
    first_position bigint not null,
    last_position bigint not null,
    last_hash bytea not null,
    answer_count bigint not null,
    before timestamptz not null,
    files jsonb not null,
    login text not null,
    created_at timestamptz not null,
    previous_hash bytea not null,
    chain_hash bytea not null,
    constraint archives_pkey primary key (id),
    constraint archives_position_key unique ("position")
);
comment on table loradex.archives is
    'Notes of what was archived, in the chain of answers; append-only.';
comment on column loradex.archives.id is 'the note';
comment on column loradex.archives.position is 'place in the chain, which answers and notes share';
comment on column loradex.archives.first_position is 'the first link in the archive';
comment on column loradex.archives.last_position is 'the last link in the archive: here the chain in the database begins';
comment on column loradex.archives.last_hash is 'chain_hash of the last link in the archive';
comment on column loradex.archives.answer_count is 'how many answers are in it';
comment on column loradex.archives.before is 'its answers are from before this moment';
comment on column loradex.archives.files is 'SHA-256 (hex) of its files, by name';
comment on column loradex.archives.login is 'name of the login that archived it';
comment on column loradex.archives.created_at is 'when';
comment on column loradex.archives.previous_hash is 'chain_hash of the link before; zeros for the first';
comment on column loradex.archives.chain_hash is 'SHA-256 of previous_hash and archive_canonical(archive)';
