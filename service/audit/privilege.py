"""Who may write evidence: nobody but its owner, who writes by functions."""

from collections.abc import Collection, Iterator

from loradex.service.audit.finding import Finding
from loradex.service.audit.snapshot import Connection

# Rights of superusers, of the owner and of its members are as they are; roles of Postgres's own are no logins. Of those
# that have a right because a group or PUBLIC has it, only the group or PUBLIC is named.
WRITERS = """
    with able as (
        select c.oid, r.oid as role, r.rolname, p.privilege
        from pg_class c
        join pg_class whole on whole.oid = coalesce(pg_partition_root(c.oid), c.oid)
        join pg_namespace n on n.oid = whole.relnamespace
        cross join (select oid, rolname from pg_roles where not rolsuper and rolname not like 'pg\\_%%'
                    union all select 0, 'public') r
        cross join unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p(privilege)
        where n.nspname = 'loradex' and whole.relname = any (%s)
          and case when r.oid = 0 then exists (
                  select from aclexplode(c.relacl) a where a.grantee = 0 and a.privilege_type = p.privilege)
              else not pg_has_role(r.oid, c.relowner, 'member') and (
                  has_table_privilege(r.oid, c.oid, p.privilege)
                  or p.privilege in ('INSERT', 'UPDATE') and has_any_column_privilege(r.oid, c.oid, p.privilege))
              end
    )
    select a.oid::regclass::text, a.rolname, string_agg(a.privilege, ', ' order by a.privilege)
    from able a
    where not exists (
        select from able g
        where g.oid = a.oid and g.privilege = a.privilege and g.role <> a.role
          and (g.role = 0 or exists (select from pg_auth_members m where m.roleid = g.role and m.member = a.role)))
    group by 1, 2 order by 1, 2"""


def writers(connection: Connection, tables: Collection[str]) -> Iterator[Finding]:
    """Every role that may change what is in these tables of the schema or in their partitions."""
    for table, role, privileges in connection.execute(WRITERS, (list(tables),)).fetchall():
        yield Finding.of_database(f"{role} may {privileges} on {table}")
