-- What authenticate seals with, so that no session can say by itself for whom it acts. One row; no role may read it.
create table loradex.tenant_secret (
    one boolean not null default true,
    inner_key bytea not null,
    outer_key bytea not null,
    constraint tenant_secret_pkey primary key (one),
    constraint tenant_secret_one_check check (one),
    constraint tenant_secret_length_check check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
comment on table loradex.tenant_secret is
    'What authenticate seals with; no role may read it.';
comment on column loradex.tenant_secret.one is 'there is one row';
comment on column loradex.tenant_secret.inner_key is
    'random bytes, made with the schema, as HMAC puts them before what it seals: filled up to a block, and changed';
comment on column loradex.tenant_secret.outer_key is
    'the same bytes as HMAC puts them before the inner hash; both are kept, since making them takes 0.1 ms each time';
