-- The commitments to what can be erased of an answer, column to hash: SHA-256 over the answer's salt and the JSON text of
-- an object of the column alone. Who does not know the salt cannot try values against them. An erased answer has kept
-- them.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_commitments(answer loradex.answers) returns jsonb
language sql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
    select coalesce(answer.commitments, (
        select jsonb_object_agg(e.key, encode(
            sha256(answer.salt || convert_to(jsonb_build_object(e.key, e.value)::text, 'UTF8')), 'hex'))
        from jsonb_each(answer_erasable(answer)) e))
$$;
comment on function loradex.answer_commitments(loradex.answers) is
    'Salted commitments to what can be erased of an answer, column to SHA-256 in hex; internal.';
revoke execute on function loradex.answer_commitments(loradex.answers) from public;
grant execute on function loradex.answer_commitments(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
