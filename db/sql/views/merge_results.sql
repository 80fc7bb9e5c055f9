-- Recipe and outcome of each answer's merge.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.merge_results with (security_invoker = true) as
select
    a.id as answer_id,
    encode(a.recipe_hash, 'hex')::character(64) as recipe_hash,
    a.method,
    a.merge,
    a.calibrated,
    a.density,
    a.merge_dtype as dtype,
    a.update_norm,
    a.sign_conflict,
    a.merge_milliseconds as milliseconds
from loradex.answers a;
comment on view loradex.merge_results is
    'Recipe and outcome of each answer''s merge.';
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
revoke all on loradex.merge_results from public;
grant select on loradex.merge_results to loradex_reader, loradex_client, loradex_worker, loradex_admin;
