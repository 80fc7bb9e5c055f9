"""`loradex db`: the database itself."""

from typing import Annotated

import typer

from loradex import terminal
from loradex.service.cli import backup
from loradex.service.settings import ServiceSettings

app = typer.Typer(add_completion=False)
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(backup.psql)
app.command()(backup.dump)
app.command()(backup.restore)


@app.command()
def upgrade() -> None:
    """Bring the schema up to date; does nothing when it is.

    Example: loradex db upgrade
    """
    from loradex.addresses import database_address
    from loradex.db.migrate import upgrade as run

    run(database_address(ServiceSettings()))
    terminal.say("the schema is up to date")


@app.command()
def roles() -> None:
    """Make the logins of admin, worker, client and reader, each named like its group with `_login` behind it.

    Passwords come from LORADEX_ADMIN_PASSWORD, _WORKER_, _CLIENT_ and _READER_PASSWORD. A login whose variable is
    not set stays as it is. Needs a user that may create roles.

    Example: loradex db roles
    """
    from loradex.addresses import database_address
    from loradex.db.logins import GROUPS, set_logins
    from loradex.errors import InvalidArgumentError

    settings = ServiceSettings()
    passwords = settings.role_passwords()
    if not passwords:
        raise InvalidArgumentError(
            "no password given: set LORADEX_ADMIN_PASSWORD, LORADEX_WORKER_PASSWORD, "
            "LORADEX_CLIENT_PASSWORD or LORADEX_READER_PASSWORD"
        )
    given = {group.login: (group, passwords[group.name]) for group in GROUPS if group.name in passwords}
    set_logins(database_address(settings), given)
    kept = [group.login for group in GROUPS if group.login not in given]
    terminal.say(f"login set: {', '.join(given)}" + (f"; as before: {', '.join(kept)}" if kept else ""))


@app.command()
def login(
    name: Annotated[str, typer.Argument(help="Name of the login.")],
    role: Annotated[str, typer.Option(help="admin, worker, client or reader.")] = "client",
) -> None:
    """Make a login of a role, such as one per tenant, or give it another password.

    The password is read from LORADEX_LOGIN_PASSWORD, or asked for. The login has its role's rights, cannot become
    the role, and sees its own jobs only if it is a client.

    Example: loradex db login alice --role client
    """
    from loradex.addresses import database_address
    from loradex.db.logins import group_named, set_logins
    from loradex.errors import InvalidArgumentError

    settings = ServiceSettings()
    group = group_named(role)
    password = (
        settings.login_password.get_secret_value()
        if settings.login_password is not None
        else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    if not password:
        raise InvalidArgumentError("the password is empty; set LORADEX_LOGIN_PASSWORD")
    set_logins(database_address(settings), {name: (group, password)})
    terminal.say(f"{name} may log in as {group.name.removeprefix('loradex_')}")


@app.command()
def url() -> None:
    """Print the address of Postgres for psql, its password included.

    A password on a command line can be read by others on this machine: for psql itself use `loradex db psql`.

    Example: loradex db url
    """
    from loradex.addresses import database_address
    from loradex.db.address import libpq_url

    terminal.say(libpq_url(database_address(ServiceSettings())))
