-- Recipe and outcome of each answer's merge.
create table loradex.merge_results (
    answer_id uuid not null,
    recipe_hash character(64) not null,
    method text not null,
    merge text not null,
    calibrated boolean not null,
    density float8 not null,
    dtype text not null,
    update_norm float8 not null,
    sign_conflict float8,
    milliseconds float8 not null,
    constraint merge_results_pkey primary key (answer_id),
    constraint merge_results_answer_id_fkey foreign key (answer_id) references loradex.answers(id) deferrable initially deferred
);
comment on table loradex.merge_results is
    'Recipe and outcome of each answer''s merge; append-only.';
comment on column loradex.merge_results.answer_id is 'the answer';
comment on column loradex.merge_results.recipe_hash is 'recipe_hash of merge, calibrated, density, dtype and components, hex';
comment on column loradex.merge_results.method is 'the job''s method';
comment on column loradex.merge_results.merge is 'how the factors became one update';
comment on column loradex.merge_results.calibrated is 'whether it was rescaled to the weighted mean norm of its adapters';
comment on column loradex.merge_results.density is 'share of entries that trimming kept';
comment on column loradex.merge_results.dtype is 'dtype the factors were merged in';
comment on column loradex.merge_results.update_norm is 'Frobenius norm of the merged update';
comment on column loradex.merge_results.sign_conflict is 'share of entries whose signs disagree; null where the method does not look';
comment on column loradex.merge_results.milliseconds is 'time of the merge';
create index merge_results_method_index on loradex.merge_results (method);
