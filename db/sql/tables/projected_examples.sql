-- Where each example lies in the plane of its encoder (projections), and what is odd about it.
create table loradex.projected_examples (
    example_id bigint not null,
    encoder text not null,
    task text not null,
    x real not null,
    y real not null,
    near_duplicate boolean not null,
    looks_like text,
    constraint projected_examples_pkey primary key (encoder, example_id),
    constraint projected_examples_encoder_fkey foreign key (encoder)
        references loradex.projections(encoder) on delete cascade,
    constraint projected_examples_example_id_encoder_fkey foreign key (example_id, encoder)
        references loradex.example_embeddings(example_id, encoder) on delete cascade
);
comment on table loradex.projected_examples is
    'Where each example lies on the map of its encoder; made by loradex map build.';
comment on column loradex.projected_examples.example_id is 'the example';
comment on column loradex.projected_examples.encoder is 'what made its vector';
comment on column loradex.projected_examples.task is 'the example''s task, repeated for the map';
comment on column loradex.projected_examples.x is 'place along the first direction';
comment on column loradex.projected_examples.y is 'place along the second direction';
comment on column loradex.projected_examples.near_duplicate is 'whether another example is nearly the same (duplicate_examples)';
comment on column loradex.projected_examples.looks_like is
    'the task that nearly all of its neighbours are of, where that is another (mislabelled_candidates)';
create index projected_examples_example_index on loradex.projected_examples (example_id, encoder);
