-- One row a worker that has announced itself: what it can do, and whether it lives.
-- Rights: those of whoever asks.
create or replace view loradex.worker_health with (security_invoker = true) as
select
    w.name,
    w.name in (select l.name from loradex.living_workers() l) as living,
    extract(epoch from now() - w.seen_at)::float8 as silent_seconds,
    w.base_model,
    w.encoder,
    w.device,
    w.dtype,
    w.batch_rows,
    (select count(*) from loradex.jobs j where j.state = 'running' and j.worker = w.name) as running,
    w.adapter_roots,
    w.versions ->> 'loradex' as version,
    w.versions,
    w.login,
    w.started_at,
    w.seen_at
from loradex.workers w;
comment on view loradex.worker_health is
    'One row a worker: what it can do, what it has in hand, and whether it lives.';
comment on column loradex.worker_health.name is 'host, process and a few random letters';
comment on column loradex.worker_health.living is 'whether it gave a sign of life within worker_silence_seconds';
comment on column loradex.worker_health.silent_seconds is 'since its last sign of life';
comment on column loradex.worker_health.base_model is 'the model whose jobs it takes';
comment on column loradex.worker_health.encoder is 'the encoder whose jobs it takes';
comment on column loradex.worker_health.device is 'where it computes';
comment on column loradex.worker_health.dtype is 'what numbers it computes in';
comment on column loradex.worker_health.batch_rows is 'jobs it answers at once';
comment on column loradex.worker_health.running is 'jobs it holds now';
comment on column loradex.worker_health.adapter_roots is 'directories below which it finds adapters';
comment on column loradex.worker_health.version is 'its version of Loradex';
comment on column loradex.worker_health.versions is 'its programs and their versions';
comment on column loradex.worker_health.login is 'who it is for Postgres';
comment on column loradex.worker_health.started_at is 'when it announced itself first';
comment on column loradex.worker_health.seen_at is 'its last sign of life';
revoke all on loradex.worker_health from public;
grant select on loradex.worker_health to loradex_reader, loradex_worker, loradex_admin;
