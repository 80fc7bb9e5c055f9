-- Who may look at tables, and the few who may write: everything else goes through functions.
revoke all on schema loradex from public;
grant usage on schema loradex to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The catalogue and the evidence, to look at.
grant select on
    loradex.base_models, loradex.base_model_aliases, loradex.encoders, loradex.tasks, loradex.methods, loradex.settings,
    loradex.adapters, loradex.examples
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
grant select on loradex.example_embeddings, loradex.evaluations, loradex.workers, loradex.erasures,
    loradex.archives
    to loradex_reader, loradex_worker, loradex_admin;
grant select on loradex.jobs, loradex.answers, loradex.feedback
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;

-- The administrator fills the library. Jobs, answers and their evidence are written by functions alone.
grant insert on loradex.examples, loradex.evaluations to loradex_admin;
grant update (prompt, target) on loradex.examples to loradex_admin;
grant delete on loradex.examples, loradex.example_embeddings to loradex_admin;

-- Affinities are part of the catalogue: everybody may look; register_affinity writes.
grant select on loradex.task_affinities to loradex_reader, loradex_client, loradex_worker, loradex_admin;
-- The administrator adds vectors; which of them are near duplicates, group_duplicates alone decides.
grant insert (example_id, encoder, task, embedding) on loradex.example_embeddings to loradex_admin;
-- The administrator draws the map of the examples (loradex map build); who sees vectors sees it.
grant select on loradex.projections, loradex.projected_examples to loradex_reader, loradex_worker, loradex_admin;
grant insert, delete on loradex.projections, loradex.projected_examples to loradex_admin;
