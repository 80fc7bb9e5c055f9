"""Figures of the queue, the workers and the chain, as Postgres has them, for whoever reads metrics."""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import LiteralString

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from loradex.db.pool import Pool
from loradex.errors import LoradexError
from loradex.metrics import DATABASE, DATABASE_UP

KEPT_SECONDS = 5.0
"""However many read them and however often, Postgres is asked once in this time."""

FIGURES: LiteralString = """
    select figure, label, value from loradex.monitor_figures()"""
LIMIT: LiteralString = "select set_config('statement_timeout', '3s', true)"

Rows = list[tuple[str, str, float]]


class Figures(Collector):
    """`loradex.monitor_figures()`, which any login of Loradex may call, the API's too.

    Where Postgres does not answer, `loradex_database_up` is 0 and the others are absent: old ones would look like
    new ones.

    Args:
        url: Where Postgres is.
        kept: Seconds for which figures are told again.
    """

    def __init__(self, url: str, *, kept: float = KEPT_SECONDS) -> None:
        self._pool = Pool(url, application="loradex metrics", idle_seconds=60.0)
        self._kept = kept
        self._lock = threading.Lock()
        self._until = 0.0
        self._rows: Rows | None = None

    def describe(self) -> Iterable[Metric]:
        """Names alone, so that Postgres is not asked before somebody reads."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if self._until < time.monotonic():
                self._rows = self._read()
                self._until = time.monotonic() + self._kept
            rows = self._rows
        yield GaugeMetricFamily(DATABASE_UP.name, DATABASE_UP.help, 0 if rows is None else 1)
        found: dict[str, list[tuple[str, float]]] = {}
        for figure, label, value in rows or []:
            found.setdefault(figure, []).append((label, value))
        yield from _families(found)

    def close(self) -> None:
        """Give the connection back."""
        self._pool.close()

    def _read(self) -> Rows | None:
        try:
            with self._pool.session() as connection, connection.transaction():
                connection.execute(LIMIT)
                return [(row[0], row[1], row[2]) for row in connection.execute(FIGURES).fetchall()]
        except LoradexError:
            return None


def _families(found: dict[str, list[tuple[str, float]]]) -> Iterator[Metric]:
    for figure, declared in DATABASE.items():
        labels = [] if declared.label is None else [declared.label]
        family = GaugeMetricFamily(declared.name, declared.help, labels=labels)
        for label, value in found.get(figure, []):
            family.add_metric([label] if labels else [], value)
        yield family
