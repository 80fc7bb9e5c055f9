-- The adapters of each answer's mixture, with their weights.
create table loradex.merge_components (
    answer_id uuid not null,
    rank int not null,
    adapter_id bigint not null,
    adapter text not null,
    version int not null,
    task text not null,
    sha256 character(64) not null,
    uri text not null,
    weight float8 not null,
    update_norm float8,
    constraint merge_components_pkey primary key (answer_id, rank),
    constraint merge_components_answer_id_fkey foreign key (answer_id) references loradex.answers(id) deferrable initially deferred
);
comment on table loradex.merge_components is
    'Adapters of each answer''s recipe with their weights; append-only.';
comment on column loradex.merge_components.answer_id is 'the answer';
comment on column loradex.merge_components.rank is '1 is the heaviest';
comment on column loradex.merge_components.adapter_id is 'the adapter';
comment on column loradex.merge_components.adapter is 'its name';
comment on column loradex.merge_components.version is 'its version';
comment on column loradex.merge_components.task is 'its task';
comment on column loradex.merge_components.sha256 is 'its content hash';
comment on column loradex.merge_components.uri is 'where it was found';
comment on column loradex.merge_components.weight is 'its weight in the recipe';
comment on column loradex.merge_components.update_norm is 'Frobenius norm of its own update';
create index merge_components_adapter_id_index on loradex.merge_components (adapter_id);
