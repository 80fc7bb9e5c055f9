"""The whole stack: servers that the settings name or else embedded ones, the schema, and a worker."""

from collections.abc import Callable

from loradex.addresses import Addresses, database_address, redis_address
from loradex.db.migrate import is_current, upgrade
from loradex.embedded import health
from loradex.embedded.api import EmbeddedApi
from loradex.embedded.health import Health, ill, well
from loradex.embedded.postgres import EmbeddedPostgres
from loradex.embedded.queue import queue, silence
from loradex.embedded.valkey import EmbeddedValkey
from loradex.embedded.worker import EmbeddedWorker
from loradex.errors import (
    DatabaseUnavailableError,
    LoradexError,
    PermissionRefusedError,
    RedisUnavailableError,
    StackError,
)
from loradex.settings import Settings
from loradex.stack_file import StackFile

UP = "run `loradex up`"
Fill = Callable[[str], str | None]


class Stack:
    """Starts, stops and looks at the parts.

    Args:
        settings: Say where the state is, and which servers are not embedded; those are only looked at.
    """

    def __init__(self, settings: Settings) -> None:
        home = settings.home.resolve()
        self._settings = settings
        self._record = StackFile(home)
        self._postgres = EmbeddedPostgres(home) if settings.database_url is None else None
        self._valkey = EmbeddedValkey(home) if settings.redis_url is None else None
        self._worker = EmbeddedWorker(home)
        self.api = EmbeddedApi(home)

    def up(
        self,
        *,
        worker: bool,
        patience: float,
        say: Callable[[str], None],
        fill: Fill | None = None,
        api: bool = False,
    ) -> list[str]:
        """Start what does not run, bring the schema up to date, and wait until each part is healthy.

        Args:
            worker: Whether to start a worker too.
            patience: Seconds to wait for the worker.
            say: Told in a few words what happens next.
            api: Whether to serve the API on this machine, where the database is embedded; without it one that runs is
                stopped.
            fill: Given the address of an embedded database before a worker starts on it; what it returns is
                told to the user.

        Returns:
            What the user should know about it, in sentences.

        Raises:
            StackError, DatabaseUnavailableError, RedisUnavailableError: A part does not become healthy.
        """
        with self._record.locked():
            say("starting Postgres")
            database_url = self._database()
            say("starting Valkey")
            redis_url = self._redis()
            say("bringing the schema up to date")
            upgrade(database_url)
            told = fill(database_url) if fill is not None and self._postgres is not None else None
            changed: list[str] = []
            if worker:
                say("starting a worker (the first start converts the base model)")
                changed = self._worker.start(Addresses(database_url, redis_url), patience)
            unserved = self._serve(Addresses(database_url, redis_url), wanted=api, say=say)
        replaced = (
            f"the worker was started again, with other values of: {', '.join(changed)}" if changed else None
        )
        return [sentence for sentence in (told, replaced, unserved) if sentence is not None]

    def down(self) -> list[str]:
        """Stop the embedded parts, those that ask first; the data stay. Returns the parts that ran."""
        with self._record.locked():
            parts: dict[str, EmbeddedApi | EmbeddedWorker | EmbeddedValkey | EmbeddedPostgres | None]
            parts = {
                "api": self.api,
                "worker": self._worker,
                "valkey": self._valkey,
                "postgres": self._postgres,
            }
            return [name for name, part in parts.items() if part is not None and part.stop()]

    def health(self, *, worker: bool = True) -> list[Health]:
        """How each part is, the worker if wanted; asks each of them now."""
        postgres = self._postgres_health()
        schema = self._schema_health(postgres)
        servers = [postgres, schema, self._redis_health()]
        if schema.healthy:
            servers.append(queue(database_address(self._settings)))
        # With servers of their own, workers are usually started by others, and are not for us to judge.
        elsewhere = self._postgres is None and self._valkey is None and self._worker.pid is None
        ours = [self._worker_health()] if worker and not elsewhere else []
        return [*servers, *ours, *([] if self.api.pid is None else [self._api_health()])]

    def _serve(self, servers: Addresses, *, wanted: bool, say: Callable[[str], None]) -> str | None:
        """Start the API or turn it off; what the user should know about that."""
        if not wanted or self._postgres is None:
            self.api.turn_off()
            return None
        if not self.api.installed():
            return "no API here: pip install 'loradex[serve]', or up --no-api"
        say("starting the API")
        self.api.start(servers)
        return None

    def _api_health(self) -> Health:
        if self.api.is_healthy():
            return well("api", self.api.url, f"answers; process {self.api.pid}")
        return ill("api", self.api.url, f"does not answer; see {self.api.log}", UP)

    def _database(self) -> str:
        if self._postgres is not None:
            return self._postgres.start()
        url = database_address(self._settings)
        found = health.postgres(url, "check LORADEX_DATABASE_URL")
        if not found.healthy:
            raise DatabaseUnavailableError(f"Postgres at {found.address}: {found.note}; {found.cure}")
        return url

    def _redis(self) -> str:
        if self._valkey is not None:
            return self._valkey.start()
        url = redis_address(self._settings)
        found = health.redis_server(url, "check LORADEX_REDIS_URL")
        if not found.healthy:
            raise RedisUnavailableError(f"Redis at {found.address}: {found.note}; {found.cure}")
        return url

    def _postgres_health(self) -> Health:
        try:
            url = database_address(self._settings)
        except StackError:
            return ill("postgres", "", "was never started", UP)
        return health.postgres(url, UP if self._postgres else "check LORADEX_DATABASE_URL and that server")

    def _redis_health(self) -> Health:
        try:
            url = redis_address(self._settings)
        except StackError:
            return ill("redis", "", "was never started", UP)
        return health.redis_server(url, UP if self._valkey else "check LORADEX_REDIS_URL and that server")

    def _schema_health(self, postgres: Health) -> Health:
        if not postgres.healthy:
            return ill("schema", "", "unknown, since Postgres does not answer", UP)
        try:
            current = is_current(database_address(self._settings))
        except PermissionRefusedError:
            return well("schema", "loradex", "there; which revision, this user may not see")
        except LoradexError as error:
            return ill("schema", "loradex", str(error), "run `loradex db upgrade`")
        if not current:
            return ill("schema", "loradex", "not at the newest revision", "run `loradex db upgrade`")
        return well("schema", "loradex", "up to date")

    def _worker_health(self) -> Health:
        pid = self._worker.pid
        if pid is None:
            return ill("worker", "", "was never started", UP)
        if self._worker.is_healthy():
            silent = self._silence()
            if silent is not None:
                note = f"no sign of life for {silent} s: it is frozen, or cannot reach Postgres"
                return ill("worker", f"process {pid}", note, "run `loradex down`, then `loradex up`")
            return well("worker", f"process {pid}", "ready")
        if self._worker.is_alive():
            return ill("worker", f"process {pid}", "starts", f"wait; if it lasts, see {self._worker.log}")
        note = f"process {pid} does not run any more; see {self._worker.log}"
        return ill("worker", f"process {pid}", note, UP)

    def _silence(self) -> int | None:
        try:
            return silence(database_address(self._settings), self._worker.name)
        except StackError:
            return None
