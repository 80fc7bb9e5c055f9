-- What Postgres lets everybody do that could fill the disk (temporary tables, large objects, messages in the WAL) or the
-- memory in which all sessions keep their locks (advisory locks, any number of them and without a transaction). Taken from
-- PUBLIC in a database that is Loradex's alone, where this user may; in a database with other tables it stays as it is,
-- since others may need it (SECURITY.md says what remains then).
-- Locks: none to speak of. Raises: nothing.
do $$
declare
    filling text;
begin
    if exists (
        select from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname <> all (array['loradex', 'pg_catalog', 'information_schema'])
          and n.nspname not like 'pg\_t%'
          and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e'))
    then
        return;
    end if;
    execute format('revoke temporary on database %I from public', current_database());
    for filling in
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and (p.proname in ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lowrite', 'pg_logical_emit_message')
               or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
    loop
        execute format('revoke execute on function %s from public', filling);
    end loop;
exception
    when insufficient_privilege then
        raise notice 'temporary tables, large objects, WAL messages and advisory locks stay open to every login: only a '
            'superuser and owner of the database can take them from PUBLIC';
end
$$;
