-- Makes an encoder known, with its index: HNSW over cosine distance, partial (its vectors only), over an expression
-- (its dimensions). Registering it again changes nothing, but that a retired one is back in service.
-- Locks: the first time, encoders against other registrations, and example_embeddings against writes while the index
-- is built. Raises: LX001 bad name or
-- dimensions, or known with others; LX005 vectors of other dimensions are stored.
create or replace function loradex.register_encoder(name text, revision text, dimensions int) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    known encoders;
begin
    if coalesce(name, '') !~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$' or coalesce(revision, '') = ''
       or length(revision) > 200 then
        raise exception using errcode = 'LX001', message =
            'an encoder needs a name (letters, digits, . _ / -) and a revision';
    end if;
    if dimensions is null or dimensions not between 1 and 4000 then
        raise exception using errcode = 'LX001', message = format(
            'encoder %s has %s dimensions; an index takes 1 to 4000', name, coalesce(dimensions::text, 'no'));
    end if;
    insert into encoders values (register_encoder.name, register_encoder.revision, register_encoder.dimensions)
    on conflict do nothing;
    select e.* into known from encoders e where e.name = register_encoder.name;
    if (known.revision, known.dimensions) <> (revision, dimensions) then
        raise exception using errcode = 'LX001', message = format(
            'encoder %s is known at revision %s with %s dimensions; give another revision another name',
            name, known.revision, known.dimensions);
    end if;
    update encoders m set retired_at = null where m.name = register_encoder.name and m.retired_at is not null;
    perform build_encoder_index(name);
end
$$;
comment on function loradex.register_encoder(text, text, int) is
    'Makes an encoder and its HNSW index known; registering it again changes nothing, or brings a retired one back.';
revoke execute on function loradex.register_encoder(text, text, int) from public;
grant execute on function loradex.register_encoder(text, text, int) to loradex_admin;
