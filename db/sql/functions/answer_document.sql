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
        'prompt_tokens', answer.prompt_tokens,
        'output_tokens', answer.output_tokens,
        'finish_reason', case
            when answer.choice is not null then 'choice'
            when answer.output_tokens >= (answer.generation ->> 'max_new_tokens')::int then 'length'
            else 'stop' end,
        'method', (select m.method from merge_results m where m.answer_id = answer.id),
        'neighbours', coalesce((
            select jsonb_agg(jsonb_build_object(
                'rank', e.rank, 'example_id', e.example_id, 'source_ref', e.source_ref, 'task', e.task,
                'similarity', e.similarity) order by e.rank)
            from retrieved_examples e
            where e.answer_id = answer.id), '[]'),
        'distribution', coalesce((
            select jsonb_agg(to_jsonb(t) - 'answer_id' order by t.rank)
            from retrieved_tasks t where t.answer_id = answer.id), '[]'),
        'mixture', coalesce((
            select jsonb_agg(to_jsonb(c) - 'answer_id' order by c.rank)
            from merge_components c where c.answer_id = answer.id), '[]'),
        'generation', answer.generation,
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
