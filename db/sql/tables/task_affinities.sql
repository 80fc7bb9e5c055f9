-- How well an adapter answers a task's questions, as measured.
create table loradex.task_affinities (
    task text not null,
    adapter_id bigint not null,
    score float8 not null,
    n int not null,
    measured_at timestamptz not null default now(),
    constraint task_affinities_pkey primary key (task, adapter_id),
    constraint task_affinities_n_check check (n > 0),
    constraint task_affinities_score_check check (score between 0 and 1),
    constraint task_affinities_adapter_id_fkey foreign key (adapter_id) references loradex.adapters(id),
    constraint task_affinities_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.task_affinities is
    'How well each adapter answers each task, on rows that no adapter was trained on.';
comment on column loradex.task_affinities.task is 'whose rows were asked';
comment on column loradex.task_affinities.adapter_id is 'the adapter that answered';
comment on column loradex.task_affinities.score is 'how well, from 0 to 1';
comment on column loradex.task_affinities.n is 'rows asked';
comment on column loradex.task_affinities.measured_at is 'when';
