"""Adapters that lie elsewhere come while other jobs go on: only those that need one wait for it."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from loradex.library.adapter_roots import AdapterRoots
from loradex.worker.isolation import Failure

AT_ONCE: Final = 4
"""Adapters that are fetched beside each other."""

GoOn = Callable[[Failure | None], None]
"""What is called when adapters are here, or with why one is not."""


class Fetching:
    """Fetches an adapter once for all jobs that wait for it.

    Its threads end with the process: a fetch may take long, and a part that it leaves is swept.
    """

    def __init__(self, adapters: AdapterRoots) -> None:
        self._adapters = adapters
        self._few = threading.Semaphore(AT_ONCE)
        self._changed = threading.Lock()
        self._waiting: dict[str, list[GoOn]] = {}
        self._log = structlog.get_logger("fetching")

    def when_here(self, uris: Sequence[str], go_on: GoOn) -> None:
        """Calls `go_on` when all of these can be read: at once, or from a thread that fetched what was missing."""
        missing = next((uri for uri in uris if not self._adapters.at_hand(uri)), None)
        if missing is None:
            go_on(None)
            return
        later = uris[uris.index(missing) + 1 :]

        def fetched(failure: Failure | None) -> None:
            if failure is None:
                self.when_here(later, go_on)
            else:
                go_on(failure)

        with self._changed:
            waiting = self._waiting.setdefault(missing, [])
            waiting.append(fetched)
            if len(waiting) > 1:
                return
        threading.Thread(target=self._fetch, args=(missing,), name="fetching", daemon=True).start()

    def _fetch(self, uri: str) -> None:
        failure = None
        with self._few:
            try:
                self._adapters.locate(uri)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must end as a recorded failure
                failure = Failure.of(error)
        with self._changed:
            waiting = self._waiting.pop(uri)
        for go_on in waiting:
            try:
                go_on(failure)
            except Exception as error:  # noqa: BLE001 - the others wait for this thread alone
                self._log.warning("fetching.broken_off", reason=str(error))
