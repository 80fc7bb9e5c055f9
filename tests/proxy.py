"""A TCP proxy that can cut its connections, at once or when a certain word goes by."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

CHUNK = 1 << 16
Moment = Literal["before", "after", "during"]


@dataclass(frozen=True)
class Trap:
    """A word that ends the connection over which it is said."""

    word: bytes
    moment: Moment
    then: Callable[[], None] | None


@dataclass
class Proxy:
    """Forwards connections on a free port of an address of this machine to `target`.

    `cut` hangs up every open connection. `cut_at(word, "before")` does so for the next connection whose
    client says `word`, before the server hears it; `"after"` lets the server hear it and keeps its reply
    from the client; `"during"` cuts nothing. What is given as `then` is done at that moment, before the word goes on.
    """

    target: tuple[str, int]
    listen_at: str = "127.0.0.1"
    cuts: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._server = socket.create_server((self.listen_at, 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._armed: list[Trap] = []
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Reset every connection now; returns how many there were."""
        with self._lock:
            pairs = list(self._open)
        for one in pairs:
            _hang_up(one)
        self.cuts += len(pairs) // 2
        return len(pairs) // 2

    def cut_at(self, word: str, moment: Moment, then: Callable[[], None] | None = None) -> None:
        with self._lock:
            self._armed.append(Trap(word.encode(), moment, then))

    @property
    def armed(self) -> int:
        return len(self._armed)

    def disarm(self) -> None:
        """Forget the words nobody said."""
        with self._lock:
            self._armed.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
        deaf = False
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(client, selectors.EVENT_READ)
                ready.register(server, selectors.EVENT_READ)
                while True:
                    for key, _ in ready.select():
                        source = key.fileobj
                        assert isinstance(source, socket.socket)
                        said = source.recv(CHUNK)
                        if not said:
                            return
                        if source is server and deaf:
                            self.cuts += 1
                            return
                        moment = self._heard(said) if source is client else None
                        if moment == "before":
                            self.cuts += 1
                            return
                        deaf = deaf or moment == "after"
                        (server if source is client else client).sendall(said)
        except OSError:
            return
        finally:
            with self._lock:
                self._open -= {client, server}
            _reset(client)
            _reset(server)

    def _heard(self, said: bytes) -> Moment | None:
        with self._lock:
            trap = next((trap for trap in self._armed if trap.word in said), None)
            if trap is None:
                return None
            self._armed.remove(trap)
        if trap.then is not None:
            trap.then()
        return trap.moment


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _reset(one: socket.socket) -> None:
    """Close without goodbye: the peer sees a reset, as when a cable is pulled and the router notices."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
