-- The text that an answer's hash covers: every column of the answer but the hash itself, as JSON with sorted keys. What
-- can be erased stands there by its commitment, and the salt, which goes with it, does not stand there. It takes the row,
-- not the id, because record_answer needs the text before the row exists.
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
begin
    return ((to_jsonb(answer) - array['salt', 'commitments', 'chain_hash']) || answer_commitments(answer))::text;
end
$$;
comment on function loradex.answer_canonical(loradex.answers) is
    'The text the chain hash of an answer covers: every column but the hash itself, erasable ones by commitment.';
revoke execute on function loradex.answer_canonical(loradex.answers) from public;
grant execute on function loradex.answer_canonical(loradex.answers)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
