-- The neighbours each answer was routed by.
create table loradex.retrieved_examples (
    answer_id uuid not null,
    rank int not null,
    example_id bigint not null,
    source_ref text not null,
    task text not null,
    similarity float8 not null,
    constraint retrieved_examples_pkey primary key (answer_id, rank),
    constraint retrieved_examples_answer_id_fkey foreign key (answer_id) references loradex.answers(id) deferrable initially deferred
);
comment on table loradex.retrieved_examples is
    'Neighbours of each answer''s query, nearest first; append-only.';
comment on column loradex.retrieved_examples.answer_id is 'the answer';
comment on column loradex.retrieved_examples.rank is '1 is the nearest';
comment on column loradex.retrieved_examples.example_id is 'the example';
comment on column loradex.retrieved_examples.source_ref is 'its id in the data set';
comment on column loradex.retrieved_examples.task is 'its task';
comment on column loradex.retrieved_examples.similarity is 'cosine of example and query';
create index retrieved_examples_example_id_index on loradex.retrieved_examples (example_id);
