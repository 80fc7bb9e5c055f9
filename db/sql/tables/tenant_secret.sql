-- What authenticate seals with, so that no session can say by itself for whom it acts. One row; no role may read it.
create table loradex.tenant_secret (
    one boolean not null default true,
    secret bytea not null,
    constraint tenant_secret_pkey primary key (one),
    constraint tenant_secret_one_check check (one),
    constraint tenant_secret_length_check check (octet_length(secret) >= 32)
);
comment on table loradex.tenant_secret is
    'What authenticate seals with; no role may read it.';
comment on column loradex.tenant_secret.one is 'there is one row';
comment on column loradex.tenant_secret.secret is 'random bytes, made with the schema';
