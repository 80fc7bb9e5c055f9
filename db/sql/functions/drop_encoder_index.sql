-- Drops the index of an encoder, for a bulk load; build_encoder_index builds it again. Without it answers stay right
-- and get slower.
-- Locks: example_embeddings against everything, briefly. Raises: LX002 unknown encoder.
create or replace function loradex.drop_encoder_index(encoder text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, loradex, public, pg_temp
as $$
begin
    if not exists (select from encoders e where e.name = encoder) then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; register it with loradex.register_encoder', shown(encoder));
    end if;
    execute format('drop index if exists loradex.%I', encoder_index(encoder));
end
$$;
comment on function loradex.drop_encoder_index(text) is 'Drops the HNSW index of an encoder, for a bulk load.';
revoke execute on function loradex.drop_encoder_index(text) from public;
grant execute on function loradex.drop_encoder_index(text) to loradex_admin;
