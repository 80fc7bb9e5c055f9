-- The four groups that hold all rights. They are cluster-wide and shared by all databases of a cluster, so making them
-- again is no error, not even when two databases are migrated at the same moment. Nobody logs in as a group: logins are
-- members, which inherit its rights and cannot become it (`loradex db login`, SECURITY.md).
do $$
declare
    wanted text;
begin
    foreach wanted in array array['loradex_reader', 'loradex_client', 'loradex_worker', 'loradex_admin'] loop
        begin
            if not exists (select from pg_roles where rolname = wanted) then
                execute format('create role %I nologin nosuperuser nocreatedb nocreaterole', wanted);
            elsif exists (select from pg_roles where rolname = wanted and rolcanlogin) then
                execute format('alter role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then null;
            when insufficient_privilege then
                raise insufficient_privilege using message = format(
                    'the group %s is missing or may log in, and this user may not change that: give it CREATEROLE, or '
                    'create the four groups of db/sql/roles.sql beforehand, with NOLOGIN', wanted);
        end;
    end loop;
end
$$;
