"""Figures of the queue, the workers and the chain, as Postgres has them, for whoever reads metrics."""

import threading
from collections.abc import Iterable, Iterator
from typing import LiteralString

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from loradex.db.pool import Pool
from loradex.db.session import Session
from loradex.metrics import DATABASE, DATABASE_UP
from loradex.service.reading import Reading

KEPT_SECONDS = 5.0
"""However many read them and however often, Postgres is asked once in this time."""

PATIENCE_SECONDS = 4.0
"""For Postgres, a connection to it included. Whoever reads metrics waits for ten seconds, and wants the others too."""

FIGURES: LiteralString = """
    select figure, label, value from loradex.monitor_figures()"""
LIMIT: LiteralString = "select set_config('statement_timeout', '3s', true)"

Rows = list[tuple[str, str, float]]


class Figures(Collector):
    """`loradex.monitor_figures()`, which any login of Loradex may call, the API's too.

    Where Postgres does not answer, `loradex_database_up` is 0 and the others are absent: old ones would look like
    new ones. All who ask meanwhile share one call, and nobody waits for one that is late.

    Args:
        url: Where Postgres is.
        kept: Seconds for which figures are told again.
    """

    def __init__(self, url: str, *, kept: float = KEPT_SECONDS) -> None:
        self._url = url
        self._kept = kept
        self._lock = threading.Lock()
        self._pool = self._new_pool()
        self._reading: Reading[Rows] | None = None

    def describe(self) -> Iterable[Metric]:
        """Names alone, so that Postgres is not asked before somebody reads."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        rows = self._newest().result
        yield GaugeMetricFamily(DATABASE_UP.name, DATABASE_UP.help, 0 if rows is None else 1)
        found: dict[str, list[tuple[str, float]]] = {}
        for figure, label, value in rows or []:
            found.setdefault(figure, []).append((label, value))
        yield from _families(found)

    def close(self) -> None:
        """Give the connection back; a call that is under way is ended."""
        self._pool.hang_up(0.0)
        self._pool.close()

    def _newest(self) -> Reading[Rows]:
        """The call whose figures are told now; only one is under way at a time."""
        with self._lock:
            last = self._reading
            if last is not None and not last.is_older(self._kept):
                return last
            if last is not None and last.has_failed:
                self._pool.close()
                self._pool = self._new_pool()
            self._reading = Reading(self._pool, _figures, PATIENCE_SECONDS)
            return self._reading

    def _new_pool(self) -> Pool:
        return Pool(self._url, application="loradex metrics", idle_seconds=60.0)


def _figures(connection: Session) -> Rows:
    with connection.transaction():
        connection.execute(LIMIT)
        return [(row[0], row[1], row[2]) for row in connection.execute(FIGURES).fetchall()]


def _families(found: dict[str, list[tuple[str, float]]]) -> Iterator[Metric]:
    for figure, declared in DATABASE.items():
        labels = (declared.label or "").split()
        family = GaugeMetricFamily(declared.name, declared.help, labels=labels)
        for label, value in found.get(figure, []):
            # Where there is one, it may have spaces of its own: a model's name.
            family.add_metric(label.split(" ", len(labels) - 1) if labels else [], value)
        yield family
