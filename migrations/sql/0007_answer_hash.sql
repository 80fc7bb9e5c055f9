-- The chain hash an answer should have: SHA-256 over the hash of the answer before and the answer's canonical text.
-- Locks: none. Raises: nothing.
create or replace function loradex.answer_hash(answer loradex.answers) returns bytea
language plpgsql stable parallel safe cost 10000
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    return sha256(answer.previous_hash || convert_to(answer_canonical(answer), 'UTF8'));
end
$$;
comment on function loradex.answer_hash(loradex.answers) is
    'The chain hash an answer should have: SHA-256 of previous_hash and answer_canonical.';
revoke execute on function loradex.answer_hash(loradex.answers) from public;
grant execute on function loradex.answer_hash(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
