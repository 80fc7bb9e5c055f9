-- The adapters of each answer's mixture, with their weights.
-- Rights: those of whoever asks, so a client sees its own answers alone.
create or replace view loradex.merge_components with (security_invoker = true) as
select a.id as answer_id, c.rank::int as rank, c.adapter_id, c.adapter, c.version, c.task,
       encode(c.sha256, 'hex')::character(64) as sha256, c.uri, c.weight, c.update_norm
from loradex.answers a
cross join lateral unnest(
    a.adapter_ids, a.adapters, a.adapter_versions, a.adapter_tasks, a.adapter_hashes, a.adapter_uris, a.weights,
    a.adapter_norms)
    with ordinality c(adapter_id, adapter, version, task, sha256, uri, weight, update_norm, rank);
comment on view loradex.merge_components is
    'Adapters of each answer''s recipe with their weights.';
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
revoke all on loradex.merge_components from public;
grant select on loradex.merge_components to loradex_reader, loradex_client, loradex_worker, loradex_admin;
