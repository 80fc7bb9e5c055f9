-- Keys of the HTTP API: who holds one acts for its owner. The key itself is never here, only its hash; a key is 256 random
-- bits, so its hash tells nothing about it.
create table loradex.api_keys (
    id bigint generated always as identity,
    owner_id bigint not null,
    name text not null,
    key_hash bytea not null,
    old_key_hash bytea,
    old_until timestamptz,
    scopes text[] not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    requests_a_minute int,
    max_waiting int,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_key_hash_key unique (key_hash),
    constraint api_keys_key_hash_check check (octet_length(key_hash) = 32),
    constraint api_keys_old_key_hash_key unique (old_key_hash),
    constraint api_keys_old_key_hash_check check (octet_length(old_key_hash) = 32),
    constraint api_keys_old_until_check check ((old_key_hash is null) = (old_until is null)),
    constraint api_keys_requests_a_minute_check check (requests_a_minute between 1 and 1000000),
    constraint api_keys_max_waiting_check check (max_waiting between 1 and 100000000),
    constraint api_keys_owner_id_fkey foreign key (owner_id) references loradex.owners(id),
    constraint api_keys_scopes_check check (cardinality(scopes) > 0 and scopes <@ array['ask', 'read'])
);
comment on table loradex.api_keys is
    'Keys of the HTTP API; who holds one acts for its owner.';
comment on column loradex.api_keys.id is 'what it is revoked by';
comment on column loradex.api_keys.owner_id is 'whose jobs and answers it reaches';
comment on column loradex.api_keys.name is 'what people call it';
comment on column loradex.api_keys.key_hash is 'SHA-256 of the key';
comment on column loradex.api_keys.old_key_hash is 'SHA-256 of the key before it was rotated; null: it was not';
comment on column loradex.api_keys.old_until is 'until when the key of before is good too';
comment on column loradex.api_keys.scopes is 'ask: hand jobs in, cancel them, and see what came of them; read: see only';
comment on column loradex.api_keys.created_at is 'when it was made';
comment on column loradex.api_keys.created_by is 'login that made it';
comment on column loradex.api_keys.expires_at is 'from when on it is refused; null: never';
comment on column loradex.api_keys.revoked_at is 'when it was revoked; null: it was not';
comment on column loradex.api_keys.requests_a_minute is 'requests it may make a minute; null: any number';
comment on column loradex.api_keys.max_waiting is 'jobs handed in with it that may wait at once; null: any number';
comment on column loradex.api_keys.last_used_at is 'when it was used last, to the minute; null: never';
create index api_keys_owner_index on loradex.api_keys (owner_id);
