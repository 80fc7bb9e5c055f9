-- Says that a worker ends: its row is removed. Whoever did not announce it cannot remove it.
-- Locks: the worker's row. Raises: LX001 a token that is too short or too long.
create or replace function loradex.withdraw_worker(worker text, token text default null) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    mine bytea := claim_hash(token);
begin
    delete from workers w where w.name = worker and w.claim_hash = mine;
    return found;
end
$$;
comment on function loradex.withdraw_worker(text, text) is
    'Removes the announcement of a worker that ends; returns whether there was one.';
revoke execute on function loradex.withdraw_worker(text, text) from public;
grant execute on function loradex.withdraw_worker(text, text) to loradex_worker;
