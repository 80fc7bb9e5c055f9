-- What `loradex eval` measured.
create table loradex.evaluations (
    id bigint generated always as identity,
    run text not null,
    setting text not null,
    method text not null,
    settings jsonb not null default '{}',
    task text not null,
    n int not null,
    score float8 not null,
    low float8 not null,
    high float8 not null,
    seconds float8 not null,
    git_revision text not null,
    library_hash text not null,
    created_at timestamptz not null default now(),
    constraint evaluations_pkey primary key (id),
    constraint evaluations_n_check check (n > 0)
);
comment on table loradex.evaluations is
    'Scores of evaluation runs; rows are added, never changed.';
comment on column loradex.evaluations.id is 'internal id';
comment on column loradex.evaluations.run is 'the run all its rows share';
comment on column loradex.evaluations.setting is 'such as in-domain or out-of-domain';
comment on column loradex.evaluations.method is 'how adapters were mixed';
comment on column loradex.evaluations.settings is 'k, top_p, temperature, density, seed, ...';
comment on column loradex.evaluations.task is 'task that was scored';
comment on column loradex.evaluations.n is 'questions asked';
comment on column loradex.evaluations.score is 'share answered right';
comment on column loradex.evaluations.low is 'lower end of the confidence interval';
comment on column loradex.evaluations.high is 'upper end of the confidence interval';
comment on column loradex.evaluations.seconds is 'time of this row';
comment on column loradex.evaluations.git_revision is 'revision of the code';
comment on column loradex.evaluations.library_hash is 'hash of the library that answered';
comment on column loradex.evaluations.created_at is 'when the row was written';
create index evaluations_run_index on loradex.evaluations (run);
