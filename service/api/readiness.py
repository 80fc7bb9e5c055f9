"""Whether requests can be served now, and why not."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from loradex.errors import LoradexError
from loradex.service.client import AsyncClient

SECONDS = 3.0
FRESH_SECONDS = 1.0
"""How long what was seen is told again."""

STATE: LiteralString = """
    select pg_has_role(session_user, 'loradex_client', 'member')
           and not pg_has_role(
               session_user, (select n.nspowner from pg_namespace n where n.nspname = 'loradex'), 'member')
           and not exists (
               select from unnest(array['loradex_reader', 'loradex_worker', 'loradex_admin']) more(role)
               where pg_has_role(session_user, more.role, 'member')) as one_of_clients,
           session_user::text as login,
           loradex.is_served(
               (select value #>> '{}' from loradex.settings where name = 'base_model'),
               (select value #>> '{}' from loradex.settings where name = 'encoder')) as served"""


CLOSED = "this server ends, and takes no more requests"


@dataclass(frozen=True)
class Seen:
    """Why no request can be taken now, or none is answered; nothing: they are.

    Attributes:
        here: Reasons of this server.
        behind: That nobody answers what it takes: jobs wait for a worker.
    """

    here: Sequence[str]
    behind: Sequence[str] = ()


async def seen_by(client: AsyncClient) -> Seen:
    """What there is against it now."""
    try:
        async with asyncio.timeout(SECONDS):
            (state,) = await client.rows(STATE)
    except TimeoutError:
        return Seen([f"Postgres does not answer within {SECONDS:g} s"])
    except LoradexError as error:
        return Seen([str(error)])
    nobody = "no living worker takes jobs of the default base model and encoder; start one"
    return Seen(
        here=[] if state["one_of_clients"] else [wrong_login(state["login"])],
        behind=[] if state["served"] else [nobody],
    )


class Readiness:
    """What `seen_by` sees, for however many ask: nobody needs a key for it, and a look takes a connection."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._look: asyncio.Task[Seen] | None = None
        self._seen_at = 0.0

    async def reasons(self, *, workers: bool = True) -> list[str]:
        """Of a look that goes on, or that ended less than `FRESH_SECONDS` ago; otherwise of a new one.

        Without `workers` it does not matter whether there is one.
        """
        if self._look is None or (self._look.done() and not self._fresh()):
            self._look = asyncio.create_task(self._looked())
        # Who leaves takes it from nobody else.
        seen = await asyncio.shield(self._look)
        return [*seen.here, *(seen.behind if workers else ())]

    def _fresh(self) -> bool:
        return time.monotonic() - self._seen_at < FRESH_SECONDS

    async def _looked(self) -> Seen:
        try:
            return await seen_by(self._client)
        finally:
            self._seen_at = time.monotonic()


def wrong_login(login: str) -> str:
    return (
        f"the login {login} sees more than its own, so it may not serve tenants: make one with "
        "`loradex db login NAME --role client` and name it in LORADEX_DATABASE_URL"
    )
