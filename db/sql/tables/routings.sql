-- What route_jobs decided for jobs that are being answered, until record_answer makes it evidence: so no worker is
-- asked what Postgres decided. Unlogged: a crash of Postgres empties it, and the jobs are routed again.
create unlogged table loradex.routings (
    job_id uuid not null,
    attempt int not null,
    query public.vector not null,
    routing jsonb not null,
    constraint routings_pkey primary key (job_id),
    constraint routings_job_id_fkey foreign key (job_id) references loradex.jobs(id) on delete cascade
);
comment on table loradex.routings is
    'What was decided for jobs that are being answered; only route_jobs and record_answer come here.';
comment on column loradex.routings.job_id is 'the job';
comment on column loradex.routings.attempt is 'the attempt it was routed for';
comment on column loradex.routings.query is 'the vector of its prompt';
comment on column loradex.routings.routing is 'neighbours, distribution, mixture and settings, as route_jobs returned them';
