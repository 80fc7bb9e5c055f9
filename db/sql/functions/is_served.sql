-- Whether a worker that lives takes jobs of this base model and encoder. For everybody who asks, since a job that nobody
-- takes is its owner's business; which workers there are, it does not tell.
-- Locks: none. Raises: nothing.
create or replace function loradex.is_served(base_model text, encoder text) returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
#variable_conflict use_column
begin
    return exists (
        select from living_workers() w
        where w.base_model = is_served.base_model and w.encoder = is_served.encoder);
end
$$;
comment on function loradex.is_served(text, text) is
    'Whether a living worker takes jobs of this base model and encoder.';
revoke execute on function loradex.is_served(text, text) from public;
grant execute on function loradex.is_served(text, text)
    to loradex_reader, loradex_client, loradex_worker, loradex_admin;
