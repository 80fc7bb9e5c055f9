"""Who may look: an API key, or the token of `loradex explore`, shown once; then a cookie stands for it."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from loradex.errors import KeyRefusedError
from loradex.service.api.allowance import Allowances
from loradex.service.client import AsyncClient
from loradex.service.explorer.rows import AT_ONCE, Bounded, Rows

SECONDS = 12 * 3600.0
"""How long a cookie is good, however much it is used."""

MOST_SESSIONS = 1_000
MOST_OF_ONE = 20
"""Sessions of one secret, so that no tenant ends those of others by signing in often."""

LONGEST_SECRET = 200


@dataclass(frozen=True)
class Viewer:
    """Somebody who was let in.

    Attributes:
        source: Reads what this person may see.
        client: Asks for this person; None where the pages read alone.
        everything: Whether that is all there is; otherwise it is the answers of one owner.
        headers: What every response to this person says beside: how many requests are left.
    """

    source: Rows
    everything: bool
    client: AsyncClient | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Enter = Callable[[str], Awaitable[Viewer]]
"""From a key or token to who it is; `KeyRefusedError` where it is none."""


@dataclass(frozen=True)
class Entrance:
    """How people come in.

    Attributes:
        enter: Lets them in.
        secret: What they show, in words.
        cookie: The name of the cookie that stands for it. Browsers keep one of a name for all ports of a machine.
        by_link: Whether a link may hold the secret. Whoever sends a link with a key would choose who opens it is.
    """

    enter: Enter
    secret: str
    cookie: str
    by_link: bool


def with_keys(client: AsyncClient, allowances: Allowances) -> Entrance:
    """Owners of API keys come in, and see what is theirs. Postgres judges the key, each time anew.

    A page counts as a request of the key.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def enter(key: str) -> Viewer:
        headers = await allowances.admitted(key)
        acting = client.acting_for(key)
        return Viewer(Bounded(acting, room), everything=False, client=acting, headers=headers)

    return Entrance(enter, "an API key (`lx_...`)", "loradex_session", by_link=False)


def with_token(source: Rows, token: str) -> Entrance:
    """Whoever has the token comes in, and sees what `source` does."""
    room = asyncio.Semaphore(AT_ONCE)

    async def enter(told: str) -> Viewer:
        if not secrets.compare_digest(told.encode("utf-8", "replace"), token.encode()):
            raise KeyRefusedError("this is not the token that `loradex explore` printed when it started")
        return Viewer(Bounded(source, room), everything=True)

    return Entrance(enter, "the token that `loradex explore` printed", "loradex_explorer", by_link=True)


class Sessions:
    """Cookies and what they stand for, in the memory of this process alone; a server that ends forgets them."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def open(self, secret: str) -> str:
        """A new cookie for a key that was good. Of too many, the one that was unused for longest is forgotten."""
        of_this = [cookie for cookie, (_, one) in self._open.items() if one == secret]
        if len(of_this) >= MOST_OF_ONE:
            self.close(of_this[0])
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = time.monotonic() + SECONDS, secret
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return cookie

    def secret_of(self, cookie: str | None) -> str | None:
        """The key that a cookie stands for; None where it is none, or over."""
        if cookie is None or cookie not in self._open:
            return None
        until, secret = self._open[cookie]
        if until < time.monotonic():
            self.close(cookie)
            return None
        self._open.move_to_end(cookie)
        return secret

    def close(self, cookie: str | None) -> None:
        """Forget it."""
        self._open.pop(cookie or "", None)
