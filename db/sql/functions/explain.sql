-- Everything that is known about an answer, as one JSON document: answer_document, how the answer came about, and the
-- texts of its neighbours where the library still holds what it held then. The chain covers all of it but the keys that
-- `unchained` names. `erased` says whether its texts are gone.
-- Locks: none. Raises: LX004 unknown answer, or another user's.
create or replace function loradex.explain(answer_id uuid) returns jsonb
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
    answer answers;
    job jobs;
    told jsonb;
    same_texts boolean;
begin
    select a.* into answer from answers a where a.id = explain.answer_id;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(explain.answer_id::text, 'null'));
    end if;
    select j.* into job from jobs j where j.id = answer.job_id;
    told := answer_document(answer);
    -- Texts lie in the library, which changes; they are shown as evidence only while they are what they were.
    same_texts := answer.examples_hash = examples_hash(answer.example_ids);
    return told || jsonb_build_object(
        'owner', answer.owner,
        'attempt', answer.attempt,
        'worker', answer.worker,
        'created_at', answer.created_at,
        'kind', answer.generation -> 'kind',
        'prompt', answer.prompt,
        'messages', answer.messages,
        'framed', framed_text(answer),
        'choices', to_jsonb(answer.choices),
        'token_ids', to_jsonb(answer.token_ids),
        'base_model', answer.base_model,
        'base_model_revision', answer.base_model_revision,
        'expected_task', job.expected_task,
        'unchained', '["expected_task"]'::jsonb,
        'neighbours_texts', case when same_texts then 'as they were'
                                 else 'withheld: the library holds other texts than when this was answered' end,
        'neighbours', coalesce((
            select jsonb_agg(n.neighbour || jsonb_build_object(
                'prompt', case when same_texts then x.prompt end, 'target', case when same_texts then x.target end)
                order by n.place)
            from jsonb_array_elements(told -> 'neighbours') with ordinality n(neighbour, place)
            -- The limit keeps it a lookup by id for each; joined freely, all examples would be read.
            left join lateral (
                select e.prompt, e.target from examples e
                where e.id = (n.neighbour ->> 'example_id')::bigint limit 1) x on true), '[]'),
        'retrieval', jsonb_build_object(
            'query', answer.query::text::jsonb, 'encoder', answer.encoder, 'encoder_revision', answer.encoder_revision,
            'k', answer.k, 'top_p', answer.top_p, 'temperature', answer.temperature,
            'exclude_tasks', answer.exclude_tasks, 'exclude_adapters', answer.exclude_adapters,
            'milliseconds', answer.routing_milliseconds, 'examples_hash', answer.examples_hash::text),
        'merge', jsonb_build_object(
            'recipe_hash', encode(answer.recipe_hash, 'hex'), 'method', answer.method, 'merge', answer.merge,
            'calibrated', answer.calibrated, 'density', answer.density, 'dtype', answer.merge_dtype,
            'update_norm', answer.update_norm, 'sign_conflict', answer.sign_conflict,
            'milliseconds', answer.merge_milliseconds),
        'versions', answer.versions,
        'erased', answer.commitments is not null);
end
$$;
comment on function loradex.explain(uuid) is
    'Everything known about an answer as one JSON document: question, retrieval, distribution, merge, answer, chain.';
revoke execute on function loradex.explain(uuid) from public;
grant execute on function loradex.explain(uuid)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
