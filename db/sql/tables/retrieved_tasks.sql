-- The task distribution each answer was routed by.
create table loradex.retrieved_tasks (
    answer_id uuid not null,
    rank int not null,
    task text not null,
    neighbours int not null,
    best_similarity float8 not null,
    probability float8 not null,
    weight float8 not null,
    in_nucleus boolean not null,
    constraint retrieved_tasks_pkey primary key (answer_id, rank),
    constraint retrieved_tasks_answer_id_fkey foreign key (answer_id) references loradex.answers(id) deferrable initially deferred
);
comment on table loradex.retrieved_tasks is
    'Task distribution of each answer, before and after truncation; append-only.';
comment on column loradex.retrieved_tasks.answer_id is 'the answer';
comment on column loradex.retrieved_tasks.rank is '1 is the likeliest';
comment on column loradex.retrieved_tasks.task is 'the task';
comment on column loradex.retrieved_tasks.neighbours is 'how many neighbours are of this task';
comment on column loradex.retrieved_tasks.best_similarity is 'cosine of its nearest';
comment on column loradex.retrieved_tasks.probability is 'share of the votes; sums to 1';
comment on column loradex.retrieved_tasks.weight is 'share after the cut; sums to 1, 0 outside the nucleus';
comment on column loradex.retrieved_tasks.in_nucleus is 'whether it survived the cut';
create index retrieved_tasks_task_index on loradex.retrieved_tasks (task);
