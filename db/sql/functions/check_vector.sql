-- The dimensions of an encoder, once the query is known to be one of its vectors.
-- Locks: none. Raises: LX002 unknown encoder; LX005 wrong length, no direction, or not finite.
create or replace function loradex.check_vector(query public.vector, encoder text) returns int
language plpgsql stable parallel safe
set search_path = pg_catalog, loradex, public, pg_temp
as $$
declare
    wanted int;
begin
    select e.dimensions into wanted from encoders e where e.name = check_vector.encoder;
    if wanted is null then
        raise exception using errcode = 'LX002', message = format(
            'no encoder %s; known are: %s. Register it with loradex.register_encoder',
            shown(encoder),
            coalesce((select string_agg(e.name, ', ' order by e.name) from encoders e), 'none'));
    end if;
    if query is null or vector_dims(query) <> wanted then
        raise exception using errcode = 'LX005', message = format(
            'the query vector has %s dimensions, encoder %s makes %s; embed the query with %s',
            coalesce(vector_dims(query)::text, 'no'), encoder, wanted, encoder);
    end if;
    if not (vector_norm(query) between 0.01 and 10000) then
        raise exception using errcode = 'LX005', message = format(
            'the query vector has length %s, so it has no usable direction; give it length 1',
            vector_norm(query));
    end if;
    return wanted;
end
$$;
comment on function loradex.check_vector(public.vector, text) is
    'Dimensions of the encoder; raises LX002 or LX005 unless the query is a vector of it.';
revoke execute on function loradex.check_vector(public.vector, text) from public;
grant execute on function loradex.check_vector(public.vector, text)
    to loradex_reader, loradex_worker, loradex_admin;
