-- Training examples; texts may be missing until they are hydrated.
create table loradex.examples (
    id bigint generated always as identity,
    task text not null,
    source_ref text not null,
    prompt text,
    target text,
    sha256 character(64) not null,
    created_at timestamptz not null default now(),
    constraint examples_id_task_key unique (id, task),
    constraint examples_pkey primary key (id),
    constraint examples_task_source_ref_key unique (task, source_ref),
    constraint examples_sha256_check check (
        prompt is null or sha256 = encode(sha256(convert_to(prompt || chr(31) || target, 'UTF8')), 'hex')),
    constraint examples_text_check check ((prompt is null) = (target is null)),
    constraint examples_task_fkey foreign key (task) references loradex.tasks(name)
);
comment on table loradex.examples is
    'Training examples; prompt and target are null until hydrated from the source.';
comment on column loradex.examples.id is 'internal id';
comment on column loradex.examples.task is 'task it belongs to';
comment on column loradex.examples.source_ref is 'its id in the data set, such as rte-train-511';
comment on column loradex.examples.prompt is 'rendered prompt, the text that was embedded';
comment on column loradex.examples.target is 'right answer';
comment on column loradex.examples.sha256 is 'SHA-256 of prompt, 0x1f, target in UTF-8, hex';
comment on column loradex.examples.created_at is 'when the row was written';
