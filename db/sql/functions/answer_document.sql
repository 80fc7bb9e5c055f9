-- What a caller is told of an answer, as one JSON document: the words, what retrieval saw, what was composed, the link
-- in the chain. job_outcome tells it to whoever waits; explain adds the rest.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_document(answer loradex.answers) returns jsonb
language plpgsql stable
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return jsonb_build_object(
        'answer_id', answer.id,
        'job_id', answer.job_id,
        'text', answer.text,
        'choice', answer.choice,
        'scores', to_jsonb(answer.scores),
        'logprobs', answer.logprobs,
        'prompt_tokens', answer.prompt_tokens,
        'output_tokens', answer.output_tokens,
        'finish_reason', finish_reason(answer.generation, answer.output_tokens),
        'method', answer.method,
        'neighbours', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', n.rank, 'example_id', n.example_id, 'source_ref', n.source_ref, 'task', n.task,
                'similarity', n.similarity) order by n.rank)
            from unnest(answer.example_ids, answer.example_refs, answer.example_tasks, answer.similarities)
                with ordinality n(example_id, source_ref, task, similarity, rank)), '[]'),
        'distribution', coalesce((
            select jsonb_agg(to_jsonb(t) order by t.rank)
            from unnest(answer.tasks, answer.task_neighbours, answer.task_similarities, answer.probabilities,
                        answer.task_weights, answer.in_nucleus)
                with ordinality t(task, neighbours, best_similarity, probability, weight, in_nucleus, rank)), '[]'),
        'mixture', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', c.rank, 'adapter_id', c.adapter_id, 'adapter', c.adapter, 'version', c.version, 'task', c.task,
                'sha256', encode(c.sha256, 'hex'), 'uri', c.uri, 'weight', c.weight, 'update_norm', c.update_norm)
                order by c.rank)
            from unnest(answer.adapter_ids, answer.adapters, answer.adapter_versions, answer.adapter_tasks,
                        answer.adapter_hashes, answer.adapter_uris, answer.weights, answer.adapter_norms)
                with ordinality c(adapter_id, adapter, version, task, sha256, uri, weight, update_norm, rank)), '[]'),
        'generation', answer.generation || jsonb_build_object('choices', answer.choices)
            || case when answer.stop is null then '{}' else jsonb_build_object('stop', answer.stop) end
            || coalesce(answer.held_to, '{}'),
        'timings', answer.timings,
        'chain', jsonb_build_object(
            'position', answer.position,
            'previous_hash', encode(answer.previous_hash, 'hex'),
            'chain_hash', encode(answer.chain_hash, 'hex')));
end
$$;
comment on function loradex.answer_document(loradex.answers) is
    'An answer with its neighbours, distribution, mixture and link in the chain, as one JSON document; internal.';
revoke execute on function loradex.answer_document(loradex.answers) from public;
grant execute on function loradex.answer_document(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
