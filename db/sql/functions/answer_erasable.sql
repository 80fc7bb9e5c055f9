-- What of an answer tells about whoever asked and can be erased: its texts, and what texts can be guessed from. The chain
-- covers a commitment to each (answer_commitments) instead of the value, so that it holds without them.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_erasable(answer loradex.answers) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select jsonb_build_object(
        'prompt', answer.prompt, 'messages', answer.messages, 'choices', answer.choices, 'stop', answer.stop,
        'held_to', answer.held_to, 'text', answer.text,
        'choice', answer.choice, 'token_ids', answer.token_ids, 'logprobs', answer.logprobs, 'query', answer.query)
$$;
comment on function loradex.answer_erasable(loradex.answers) is
    'What of an answer can be erased, column to value; internal.';
revoke execute on function loradex.answer_erasable(loradex.answers) from public;
grant execute on function loradex.answer_erasable(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
