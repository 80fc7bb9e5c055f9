"""`loradex db`: the database itself."""

import typer

from service.settings import ServiceSettings

app = typer.Typer(add_completion=False)


@app.command()
def upgrade() -> None:
    """Bring the schema up to date; does nothing when it is.

    Example: loradex db upgrade
    """
    from db.embedded.addresses import database_address
    from db.migrate import upgrade as run

    run(database_address(ServiceSettings()))
    typer.echo("the schema is up to date")


@app.command()
def url() -> None:
    """Print the address of Postgres for psql, its password included.

    Example: psql "$(loradex db url)"
    """
    from db.embedded.addresses import database_address
    from db.session import libpq_url

    typer.echo(libpq_url(database_address(ServiceSettings())))
