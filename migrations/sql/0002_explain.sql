-- Everything that is known about an answer, as one JSON document: what was asked, what retrieval saw, how the nucleus
-- was cut, what was composed, what came out, and the link in the chain.
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
    retrieval retrievals;
    merge merge_results;
begin
    select a.* into answer from answers a where a.id = explain.answer_id;
    if not found then
        raise exception using errcode = 'LX004', message = format(
            'no answer %s, or it is another user''s; check the id', coalesce(explain.answer_id::text, 'null'));
    end if;
    select j.* into job from jobs j where j.id = answer.job_id;
    select r.* into retrieval from retrievals r where r.answer_id = answer.id;
    select m.* into merge from merge_results m where m.answer_id = answer.id;
    return jsonb_build_object(
        'answer_id', answer.id,
        'job_id', answer.job_id,
        'owner', answer.owner,
        'attempt', answer.attempt,
        'worker', answer.worker,
        'created_at', answer.created_at,
        'kind', job.kind,
        'prompt', answer.prompt,
        'choices', to_jsonb(job.choices),
        'text', answer.text,
        'choice', answer.choice,
        'scores', to_jsonb(answer.scores),
        'token_ids', to_jsonb(answer.token_ids),
        'prompt_tokens', answer.prompt_tokens,
        'output_tokens', answer.output_tokens,
        'base_model', answer.base_model,
        'base_model_revision', answer.base_model_revision,
        'method', merge.method,
        'expected_task', job.expected_task,
        'retrieval', jsonb_build_object(
            'query', retrieval.query::text::jsonb,
            'encoder', retrieval.encoder,
            'encoder_revision', retrieval.encoder_revision,
            'k', retrieval.k,
            'top_p', retrieval.top_p,
            'temperature', retrieval.temperature,
            'exclude_tasks', to_jsonb(retrieval.exclude_tasks),
            'exclude_adapters', to_jsonb(retrieval.exclude_adapters),
            'milliseconds', retrieval.milliseconds),
        'neighbours', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', e.rank, 'example_id', e.example_id, 'source_ref', e.source_ref, 'task', e.task,
                'similarity', e.similarity, 'prompt', x.prompt, 'target', x.target) order by e.rank)
            from retrieved_examples e left join examples x on x.id = e.example_id
            where e.answer_id = answer.id), '[]'),
        'distribution', coalesce((
            select jsonb_agg(to_jsonb(t) - 'answer_id' order by t.rank)
            from retrieved_tasks t where t.answer_id = answer.id), '[]'),
        'merge', to_jsonb(merge) - 'answer_id',
        'mixture', coalesce((
            select jsonb_agg(to_jsonb(c) - 'answer_id' order by c.rank)
            from merge_components c where c.answer_id = answer.id), '[]'),
        'generation', answer.generation,
        'timings', answer.timings,
        'versions', answer.versions,
        'chain', jsonb_build_object(
            'position', answer.position,
            'previous_hash', encode(answer.previous_hash, 'hex'),
            'chain_hash', encode(answer.chain_hash, 'hex')));
end
$$;
comment on function loradex.explain(uuid) is
    'Everything known about an answer as one JSON document: question, retrieval, distribution, merge, answer, chain.';
revoke execute on function loradex.explain(uuid) from public;
grant execute on function loradex.explain(uuid)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
