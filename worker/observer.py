"""What happens in a worker, as its metrics count it: told of each end of a job, and asked by whoever reads them."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from loradex.metrics import BANK_GAUGES, BANK_TOTALS, WorkerMetrics
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.identity import WorkerIdentity
from loradex.worker.jobs import Routing

MOST_ADAPTERS = 200
OTHER = "other"


class Observer:
    """Counts jobs, answers and mixtures. What it is told costs microseconds, and is lost with the process.

    Attributes:
        edge: Similarity below which a question is out of the library's domain; None while nobody knows.
    """

    def __init__(self, registry: CollectorRegistry, identity: WorkerIdentity, bank: AdapterBank) -> None:
        self.edge: float | None = None
        self._metrics = WorkerMetrics(registry)
        self._metrics.info.info(
            {
                "base_model": identity.base_model,
                "encoder": identity.encoder,
                "device": identity.device,
                "dtype": identity.dtype,
                "version": str(identity.versions.get("loradex", "")),
            }
        )
        self._adapters: set[str] = set()
        registry.register(_Bank(bank))

    def batch(self, rows: int) -> None:
        """A row was given to the engine, which has so many in hand now."""
        self._metrics.batch_rows.observe(rows)

    def used(self, count: int) -> None:
        """Rows joined those that the engine computes, which may come to need so many bytes."""
        self._metrics.batch_bytes.observe(count)

    def answered(self, routing: Routing, answer: Mapping[str, Any]) -> None:
        """An answer, as `answer_document` says it, was recorded."""
        metrics = self._metrics
        metrics.jobs.labels("answered", "").inc()
        metrics.answers.labels(answer["generation"]["finish_reason"]).inc()
        metrics.prompt_tokens.inc(answer["prompt_tokens"])
        metrics.output_tokens.inc(answer["output_tokens"])
        timings: Mapping[str, float] = answer["timings"]
        for stage, milliseconds in timings.items():
            metrics.stages.labels(stage).observe(milliseconds / 1000)
        if "decode" in timings and answer["output_tokens"] > 1:
            metrics.per_token.observe(timings["decode"] / 1000 / (answer["output_tokens"] - 1))
        self._mixed(routing)

    def failed(self, code: str) -> None:
        """A job ended without an answer."""
        self._metrics.jobs.labels("failed", code).inc()

    def lost(self) -> None:
        """A job was no longer this worker's: it was cancelled, has expired, or another has it."""
        self._metrics.jobs.labels("lost", "").inc()

    def _mixed(self, routing: Routing) -> None:
        metrics = self._metrics
        metrics.mixture.observe(len(routing.mixture))
        if routing.mixture:
            metrics.top_weight.observe(max(float(part["weight"]) for part in routing.mixture))
        for part in routing.mixture:
            metrics.weights.labels(self._known(str(part["adapter"]))).inc(max(0.0, float(part["weight"])))
        if routing.similarity is not None:
            metrics.similarity.observe(routing.similarity)
            if self.edge is not None and routing.similarity < self.edge:
                metrics.out_of_domain.inc()

    def _known(self, adapter: str) -> str:
        """The adapter's name, or `other` once so many were named that more series would cost too much."""
        if adapter not in self._adapters and len(self._adapters) >= MOST_ADAPTERS:
            return OTHER
        self._adapters.add(adapter)
        return adapter


class _Bank(Collector):
    """The bank's own counts, read when they are asked for."""

    def __init__(self, bank: AdapterBank) -> None:
        self._bank = bank

    def collect(self) -> Iterator[Metric]:
        for name, declared in BANK_TOTALS.items():
            yield CounterMetricFamily(declared.name, declared.help, float(getattr(self._bank.counts, name)))
        for name, declared in BANK_GAUGES.items():
            yield GaugeMetricFamily(declared.name, declared.help, float(getattr(self._bank, name)))
