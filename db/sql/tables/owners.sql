-- Who asks: one row per login, known by its role's oid, so that a login that is dropped and made again under the same name
-- is somebody else. Owners of API keys are here too, with the role 0, which no login has.
create table loradex.owners (
    id bigint generated always as identity,
    name text not null,
    role oid not null,
    created_at timestamptz not null default now(),
    constraint owners_pkey primary key (id),
    constraint owners_role_key unique (role, name)
);
comment on table loradex.owners is
    'Who asks: one row per login or owner of API keys, never used for another one.';
comment on column loradex.owners.id is 'the owner of jobs and answers';
comment on column loradex.owners.name is 'name of the login when it asked first, or of the owner of API keys';
comment on column loradex.owners.role is 'oid of the login''s role; 0: an owner of API keys';
comment on column loradex.owners.created_at is 'when it asked first';
