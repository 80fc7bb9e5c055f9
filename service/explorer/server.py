"""`loradex explore`: the explorer alone, on this machine, with a login that sees everything."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from loradex.errors import InvalidArgumentError
from loradex.logs import log_as_json
from loradex.service.api.door import Door
from loradex.service.api.login import address_of
from loradex.service.api.measures import Measures
from loradex.service.api.server import listening, run
from loradex.service.explorer.entrance import with_token
from loradex.service.explorer.rows import Reader
from loradex.service.explorer.site import SIGN_IN, Explorer
from loradex.settings import Settings

LOGIN = "loradex_explorer"
HOST = "127.0.0.1"
READS_ONLY: LiteralString = """
    select session_user::text as login,
           pg_has_role(session_user, 'loradex_reader', 'member')
           and not pg_has_role(
               session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member')
           and not exists (
               select from unnest(array['loradex_client', 'loradex_worker', 'loradex_admin']) more(role)
               where pg_has_role(session_user, more.role, 'member')) as reads_only"""


def explore(settings: Settings, port: int, said: Callable[[str], None]) -> None:
    """Serve the pages until a signal ends it.

    Args:
        settings: Where Postgres is.
        port: 0 takes a free one.
        said: Is told the address to open; who has it sees everything.

    Raises:
        InvalidArgumentError: Nobody can listen there, or the login may do more than read.
        StackError: Nothing says where Postgres is.
        DatabaseUnavailableError: It does not answer.
    """
    log_as_json()
    database = address_of(settings, LOGIN, "reader")
    with listening(HOST, port) as door:
        asyncio.run(_serve(database, door, said))


async def _serve(database: str, door: Any, said: Callable[[str], None]) -> None:
    reader, token = Reader(database), secrets.token_urlsafe(32)
    try:
        (login,) = await reader.rows(READS_ONLY)
        if not login["reads_only"]:
            raise InvalidArgumentError(
                f"the login {login['login']} may do more than read: make one with `loradex db login NAME --role "
                "reader` and name it in LORADEX_DATABASE_URL"
            )
        await run(application(reader, token), door, lambda address: said(f"{address}{SIGN_IN}?token={token}"))
    finally:
        await reader.close()


def application(reader: Reader, token: str) -> Door:
    """The pages for whoever has the token."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        await reader.close()

    routes = Explorer(with_token(reader, token)).routes()
    measures = Measures(CollectorRegistry(), {route.endpoint: route.path for route in routes})
    return Door(Starlette(routes=routes, lifespan=lifespan), measures)
