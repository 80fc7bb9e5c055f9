"""`loradex db`: the database itself."""

import typer

from loradex.service.settings import ServiceSettings

app = typer.Typer(add_completion=False)


@app.command()
def upgrade() -> None:
    """Bring the schema up to date; does nothing when it is.

    Example: loradex db upgrade
    """
    from loradex.addresses import database_address
    from loradex.db.migrate import upgrade as run

    run(database_address(ServiceSettings()))
    typer.echo("the schema is up to date")


@app.command()
def roles() -> None:
    """Set the roles' passwords from LORADEX_ADMIN_PASSWORD, _WORKER_, _CLIENT_ and _READER_PASSWORD.

    A role whose variable is not set keeps what it has. Needs a user that may alter roles.

    Example: loradex db roles
    """
    from loradex.addresses import database_address
    from loradex.db.roles import ROLES, set_passwords
    from loradex.errors import InvalidArgumentError

    settings = ServiceSettings()
    given = settings.role_passwords()
    if not given:
        raise InvalidArgumentError(
            "no password given: set LORADEX_ADMIN_PASSWORD, LORADEX_WORKER_PASSWORD, "
            "LORADEX_CLIENT_PASSWORD or LORADEX_READER_PASSWORD"
        )
    set_passwords(database_address(settings), given)
    kept = [role for role in ROLES if role not in given]
    typer.echo(f"password set: {', '.join(given)}" + (f"; as before: {', '.join(kept)}" if kept else ""))


@app.command()
def url() -> None:
    """Print the address of Postgres for psql, its password included.

    Example: psql "$(loradex db url)"
    """
    from loradex.addresses import database_address
    from loradex.db.session import libpq_url

    typer.echo(libpq_url(database_address(ServiceSettings())))
