-- Data sets with their cards: prompt template, choices, metric, source.
create table loradex.tasks (
    name text not null,
    family text not null,
    metric text not null,
    card jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint tasks_pkey primary key (name)
);
comment on table loradex.tasks is
    'Data sets that examples come from and adapters were trained on.';
comment on column loradex.tasks.name is 'such as rte';
comment on column loradex.tasks.family is 'such as nli';
comment on column loradex.tasks.metric is 'accuracy, exact_match, f1, rouge_l or bleu';
comment on column loradex.tasks.card is 'the task card';
comment on column loradex.tasks.created_at is 'when the row was written';
