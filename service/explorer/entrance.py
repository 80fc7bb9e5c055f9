"""Who may look: an API key, or the token of `loradex explore`, shown once; then a cookie stands for it."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loradex.errors import KeyRefusedError
from loradex.service.client import AsyncClient
from loradex.service.explorer.rows import AT_ONCE, Bounded, Rows

COOKIE = "loradex_session"
SECONDS = 12 * 3600.0
"""How long a cookie is good after it was last used."""

MOST_SESSIONS = 1_000
LONGEST_SECRET = 200


@dataclass(frozen=True)
class Viewer:
    """Somebody who was let in.

    Attributes:
        source: Reads what this person may see.
        everything: Whether that is all there is; otherwise it is the answers of one owner.
    """

    source: Rows
    everything: bool


Enter = Callable[[str], Awaitable[Viewer]]
"""From a key or token to who it is; `KeyRefusedError` where it is none."""


def with_keys(client: AsyncClient) -> Enter:
    """Owners of API keys come in, and see what is theirs. Postgres judges the key, each time anew."""
    room = asyncio.Semaphore(AT_ONCE)

    async def enter(key: str) -> Viewer:
        mine = client.acting_for(key)
        await mine.rows("select")
        return Viewer(Bounded(mine, room), everything=False)

    return enter


def with_token(source: Rows, token: str) -> Enter:
    """Whoever has the token comes in, and sees what `source` does."""
    room = asyncio.Semaphore(AT_ONCE)

    async def enter(told: str) -> Viewer:
        if not secrets.compare_digest(told.encode("utf-8", "replace"), token.encode()):
            raise KeyRefusedError("this is not the token that `loradex explore` printed when it started")
        return Viewer(Bounded(source, room), everything=True)

    return enter


class Sessions:
    """Cookies and what they stand for, in the memory of this process alone; a server that ends forgets them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def open(self, secret: str) -> str:
        """A new cookie for a key that was good. Of too many, the one that was unused for longest is forgotten."""
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = time.monotonic() + SECONDS, secret
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return cookie

    def secret_of(self, cookie: str | None) -> str | None:
        """The key that a cookie stands for; None where it is none, or over."""
        until, secret = self._open.pop(cookie or "", (0.0, ""))
        if cookie is None or until < time.monotonic():
            return None
        self._open[cookie] = time.monotonic() + SECONDS, secret
        return secret

    def close(self, cookie: str | None) -> None:
        """Forget it."""
        self._open.pop(cookie or "", None)
