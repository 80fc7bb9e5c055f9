"""The schema of the first release.

Revision ID: 0001_baseline
Revises:
"""

from alembic import op

from loradex.db.revisions import run_frozen

revision = "0001_baseline"
down_revision = None
branch_labels = None
depends_on = None

DROP = """
do $$
declare
    -- All written before the first is run, since one may take others with it.
    statements text[] := array(
        select format('drop %s if exists loradex.%I cascade', case c.relkind when 'v' then 'view' else 'table' end, c.relname)
        from pg_class c
        where c.relnamespace = 'loradex'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname <> all (array['alembic_version', 'migration_lock'])
        union all
        select format('drop routine if exists %s cascade', p.oid::regprocedure)
        from pg_proc p where p.pronamespace = 'loradex'::regnamespace
        union all
        select format('drop type if exists loradex.%I cascade', t.typname)
        from pg_type t left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = 'loradex'::regnamespace and (t.typtype = 'd' or c.relkind = 'c'));
    statement text;
begin
    foreach statement in array statements loop
        execute statement;
    end loop;
end
$$
"""


def upgrade() -> None:
    run_frozen(op, revision)
    op.execute("select loradex.build_search()")


def downgrade() -> None:
    """Everything but the roles goes, with its rows."""
    op.execute("set local search_path = pg_catalog")
    op.execute(DROP)
