"""uvicorn around the API: it says where it listens, and ends when it is told to."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import uvicorn
from prometheus_client import CollectorRegistry

from loradex.addresses import redis_address
from loradex.collector import tracing
from loradex.errors import DatabaseUnavailableError, InvalidArgumentError
from loradex.logs import adopt, log_as_json
from loradex.metrics_port import MetricsPort
from loradex.service.api.allowance import Allowances
from loradex.service.api.app import Api
from loradex.service.api.asking import Asking
from loradex.service.api.door import Door
from loradex.service.api.login import serving_address
from loradex.service.api.origins import origins_in
from loradex.service.api.patience import Patience
from loradex.service.api.readiness import STATE, wrong_login
from loradex.service.client import AsyncClient
from loradex.service.explorer.entrance import with_keys
from loradex.service.explorer.site import Explorer
from loradex.service.figures import Figures
from loradex.service.settings import ServiceSettings

CONNECTIONS = 8
"""Of one server to Postgres; one of them listens. Each is lent for a few milliseconds, some for pages up to seconds."""

DRAIN_SECONDS = 30.0
"""For requests that are under way when the server is told to end. Those that are left then end with an error."""

LAST_WORDS_SECONDS = 2
"""How long their errors may take to reach their clients."""


def serve(
    settings: ServiceSettings,
    host: str,
    port: int,
    said: Callable[[str], None],
    metrics_port: int | None = None,
    *,
    origins: Sequence[str] = (),
) -> None:
    """Serve until a signal ends it.

    Args:
        settings: Where Postgres and Redis are.
        host: The address to listen at.
        port: 0 takes a free one.
        said: Is told the address once it is listened at.
        metrics_port: Where Prometheus reads it, at the setting `metrics_host`; None: it is not read.
        origins: Whose pages may call it from a browser.

    Raises:
        InvalidArgumentError: Nobody can listen there, an origin is none, or the login sees more than its own.
        StackError: Nothing says where the servers are.
    """
    log_as_json()
    known = origins_in(origins)
    database, redis = serving_address(settings), redis_address(settings)
    registry = CollectorRegistry()
    with (
        listening(host, port) as door,
        _seen(settings, database, metrics_port, registry),
        tracing("loradex-api"),
    ):
        asyncio.run(_serve(settings, database, redis, door, said, registry=registry, origins=known))


@contextmanager
def _seen(
    settings: ServiceSettings, database: str, port: int | None, registry: CollectorRegistry
) -> Iterator[None]:
    """The metrics of this server and the figures of its database are served meanwhile, if a port is named."""
    if port is None:
        yield
        return
    with closing(Figures(database)) as figures:
        registry.register(figures)
        with MetricsPort(settings.metrics_host, port, registry):
            yield


async def _serve(
    settings: ServiceSettings,
    database: str,
    redis: str,
    door: socket.socket,
    said: Callable[[str], None],
    *,
    registry: CollectorRegistry,
    origins: Sequence[str],
) -> None:
    client = AsyncClient(database, redis, settings=settings, connections=CONNECTIONS)
    await _require_login(client)
    await run(application(client, registry, origins), door, said)


def application(
    client: AsyncClient, registry: CollectorRegistry | None = None, origins: Sequence[str] = ()
) -> Door:
    """The API and the explorer beside it, which count the requests of a key together."""
    allowances = Allowances(client)
    asking = Asking()
    explorer = Explorer(with_keys(client, allowances), asking)
    return Api(client, registry, explorer.routes(), allowances, asking, origins=origins).application()


class Draining(uvicorn.Server):  # type: ignore[misc]
    """uvicorn, which at its end lets requests that are under way finish for a while, and then tells them of it.

    By itself it cuts streams, and OpenAI's clients take one that was cut for one that is over.
    """

    def __init__(self, application: Door, seconds: float = DRAIN_SECONDS) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=Patience,
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=LAST_WORDS_SECONDS,
            )
        )
        self._application = application
        self._seconds = seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn when it is told to end.

        Whoever looks hears first that it is not ready, and what is under way is answered, as long as there is time.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._application.close().wait()
        self._application.end()
        await super().shutdown(sockets)


async def run(application: Door, door: socket.socket, said: Callable[[str], None]) -> None:
    """Serve it at an open door until a signal ends it; `said` is told the address."""
    server = Draining(application)
    host, port = door.getsockname()[:2]
    adopt()
    said(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    # uvicorn sends the signal that ended it once more, to whoever had it before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    await server.serve(sockets=[door])


async def _require_login(client: AsyncClient) -> None:
    """Refuse a login that would see more than its own. With Postgres away nothing is refused: `/readyz` says it."""
    try:
        (state,) = await client.rows(STATE)
    except DatabaseUnavailableError:
        return
    if not state["one_of_clients"]:
        await client.close()
        raise InvalidArgumentError(wrong_login(state["login"]))


def listening(host: str, port: int) -> socket.socket:
    """The door of a server.

    Raises:
        InvalidArgumentError: Nobody can listen there.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        door = socket.create_server((host, port), family=family, backlog=2048)
        # Head and body are written apart, and the body would wait until the client's kernel, 40 ms later, says that the
        # head has come. Connections inherit it; asyncio sets it for sockets alone whose protocol is named.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, OverflowError) as error:
        raise InvalidArgumentError(
            f"nobody can listen at {host} port {port} ({error}); give another --host or --port"
        ) from None
    return door
