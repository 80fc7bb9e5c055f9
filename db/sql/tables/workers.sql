-- Workers that have announced themselves, each with its last sign of life. Written by announce_worker and withdraw_worker
-- only; a worker that was killed leaves its row behind, silent.
create table loradex.workers (
    name text not null,
    login text not null,
    claim_hash bytea not null,
    base_model text not null,
    encoder text not null,
    device text not null,
    dtype text not null,
    adapter_roots text[] not null,
    batch_rows int not null,
    versions jsonb not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    constraint workers_pkey primary key (name)
) with (fillfactor = 50);
comment on table loradex.workers is
    'Workers that have announced themselves; worker_health says which of them live.';
comment on column loradex.workers.name is 'host, process and a few random letters';
comment on column loradex.workers.login is 'who it is for Postgres';
comment on column loradex.workers.claim_hash is 'hash of its login and its token (claim_hash)';
comment on column loradex.workers.base_model is 'the model it answers with; it takes jobs of this one alone';
comment on column loradex.workers.encoder is 'the encoder it has; it takes jobs of this one alone';
comment on column loradex.workers.device is 'where it computes, such as cpu or cuda';
comment on column loradex.workers.dtype is 'what numbers it computes in';
comment on column loradex.workers.adapter_roots is 'directories below which it finds adapters';
comment on column loradex.workers.batch_rows is 'jobs it answers at once';
comment on column loradex.workers.versions is 'its programs and their versions';
comment on column loradex.workers.started_at is 'when it announced itself first';
comment on column loradex.workers.seen_at is 'its last sign of life';
