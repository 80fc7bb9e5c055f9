-- The text that an answer's hash covers: every column of the answer (but the hash itself) and of all its children, as
-- JSON with sorted keys. It takes the row, not the id, because record_answer needs the text before the row exists.
-- All settings that shape the text of a value are pinned. A column added later must be left out here while it is
-- null, or the chain of older answers breaks.
-- The cost says how slow it is beside an operator, so that Postgres shares the work out.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_canonical(answer loradex.answers) returns text
language plpgsql stable parallel safe cost 10000
set search_path = pg_catalog, loradex, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
#variable_conflict use_column
begin
    return jsonb_build_object(
        'answer', to_jsonb(answer) - 'chain_hash',
        'retrieval', (select jsonb_agg(to_jsonb(r)) from retrievals r where r.answer_id = answer.id),
        'examples', (select jsonb_agg(to_jsonb(e) order by e.rank) from retrieved_examples e
                     where e.answer_id = answer.id),
        'tasks', (select jsonb_agg(to_jsonb(t) order by t.rank) from retrieved_tasks t
                  where t.answer_id = answer.id),
        'merge', (select jsonb_agg(to_jsonb(m)) from merge_results m where m.answer_id = answer.id),
        'components', (select jsonb_agg(to_jsonb(c) order by c.rank) from merge_components c
                       where c.answer_id = answer.id)
    )::text;
end
$$;
comment on function loradex.answer_canonical(loradex.answers) is
    'The text the chain hash of an answer covers: every column of it and its children but the hash itself.';
revoke execute on function loradex.answer_canonical(loradex.answers) from public;
grant execute on function loradex.answer_canonical(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
