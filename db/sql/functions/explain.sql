-- Everything that is known about an answer, as one JSON document: answer_document, how the answer came about, and the
-- texts of its neighbours where the library still holds what it held then.
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
    select r.examples_hash = examples_hash(array(
        select e.example_id from retrieved_examples e where e.answer_id = answer.id order by e.rank))
    into same_texts from retrievals r where r.answer_id = answer.id;
    return told || jsonb_build_object(
        'owner', answer.owner,
        'attempt', answer.attempt,
        'worker', answer.worker,
        'created_at', answer.created_at,
        'kind', job.kind,
        'prompt', answer.prompt,
        'choices', to_jsonb(job.choices),
        'token_ids', to_jsonb(answer.token_ids),
        'base_model', answer.base_model,
        'base_model_revision', answer.base_model_revision,
        'expected_task', job.expected_task,
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
        'retrieval', (
            select to_jsonb(r) - 'answer_id' || jsonb_build_object('query', r.query::text::jsonb)
            from retrievals r where r.answer_id = answer.id),
        'merge', (select to_jsonb(m) - 'answer_id' from merge_results m where m.answer_id = answer.id),
        'versions', answer.versions);
end
$$;
comment on function loradex.explain(uuid) is
    'Everything known about an answer as one JSON document: question, retrieval, distribution, merge, answer, chain.';
revoke execute on function loradex.explain(uuid) from public;
grant execute on function loradex.explain(uuid)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
