-- pgvector, where the functions look for it: in the schema public, version 0.8.0 or later.
-- Locks: none. Raises: insufficient_privilege where only a superuser may create it; a sentence with the cure otherwise.
do $$
declare
    found record;
begin
    begin
        create extension if not exists vector with schema public;
    exception
        when insufficient_privilege then
            raise insufficient_privilege using message =
                'the extension vector is missing and this user may not create it: '
                'have a superuser run `create extension vector with schema public` in this database';
        when undefined_file or feature_not_supported then
            raise exception 'this server has no pgvector: install it (0.8.4 or later) and upgrade again';
    end;
    select extversion as version, extnamespace::regnamespace::text as schema into found
    from pg_extension where extname = 'vector';
    if found.schema <> 'public' then
        raise exception 'the extension vector lies in schema %; move it: alter extension vector set schema public',
            found.schema;
    end if;
    if string_to_array(found.version, '.')::int[] < array[0, 8, 0] then
        raise exception 'the extension vector is %, 0.8.0 is needed (0.8.4 advised); update it', found.version;
    end if;
end
$$;
-- Only once pgvector's library is loaded may a plain owner set its parameters on a function.
select '[1]'::public.vector;
