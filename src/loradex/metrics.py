"""Every metric of Loradex, declared once: name, unit, labels and help. Made on a registry of the process's own.

Names end in their unit, totals in `_total`, as Prometheus wants it. A label's values come from our code or from the
registry of adapters and models, never from a request, so that there are only so many series.
"""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
STAGE_SECONDS = (0.0005, 0.001, 0.0025, *SECONDS)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
BYTES = tuple(1 << power for power in range(20, 38, 2))
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ADAPTERS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)


class ApiMetrics:
    """What `loradex serve` counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "loradex_api_requests_total",
            "Requests that were answered, by route, method, status and code of the error, empty without one; "
            "status 499: the client left",
            ("route", "method", "status", "code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "loradex_api_request_duration_seconds",
            "From a request to the end of its answer",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.first = Histogram(
            "loradex_api_time_to_first_token_seconds",
            "Of streams: from the request to the first event with data",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.under_way = Gauge(
            "loradex_api_requests_in_progress", "Requests that are not answered yet", registry=registry
        )
        self.streams = Gauge(
            "loradex_api_open_streams", "Streams of events that are being sent", registry=registry
        )


class WorkerMetrics:
    """What a worker counts of jobs and answers; its bank is told by `BANK`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Info("loradex_worker", "What this worker answers with", registry=registry)
        self.jobs = Counter(
            "loradex_worker_jobs_total",
            "Jobs this worker took to an end: answered, failed (code says why), or lost to a cancellation, a "
            "deadline or another worker",
            ("outcome", "code"),
            registry=registry,
        )
        self.answers = Counter(
            "loradex_worker_answers_total",
            "Answers by what ended them: stop, length, or choice",
            ("finish_reason",),
            registry=registry,
        )
        self.stages = Histogram(
            "loradex_worker_stage_duration_seconds",
            "Seconds of an answer's stages, which its timings name; jobs beside each other count the same time",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self.per_token = Histogram(
            "loradex_worker_time_per_output_token_seconds",
            "Seconds of decoding of a text for each of its tokens after the first",
            buckets=TOKEN_SECONDS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "loradex_worker_prompt_tokens_total",
            "Tokens read, of answers that were recorded",
            registry=registry,
        )
        self.output_tokens = Counter(
            "loradex_worker_output_tokens_total",
            "Tokens of answers that were recorded",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "loradex_worker_batch_rows",
            "Rows in the hands of the engine as one joins them",
            buckets=ROWS,
            registry=registry,
        )
        self.batch_bytes = Histogram(
            "loradex_worker_batch_bytes",
            "Bytes that the rows which are computed may come to need, as one joins them",
            buckets=BYTES,
            registry=registry,
        )
        self.mixture = Histogram(
            "loradex_worker_mixture_adapters",
            "Adapters in an answer's mixture; 0 is the base model alone",
            buckets=ADAPTERS,
            registry=registry,
        )
        self.top_weight = Histogram(
            "loradex_worker_mixture_top_weight_ratio",
            "Weight of the heaviest adapter of a mixture",
            buckets=SHARES,
            registry=registry,
        )
        self.similarity = Histogram(
            "loradex_worker_retrieval_similarity_ratio",
            "Cosine of a question and its nearest example",
            buckets=SHARES,
            registry=registry,
        )
        self.out_of_domain = Counter(
            "loradex_worker_out_of_domain_total",
            "Answers to questions less similar to everything than the edge of the library's domain",
            registry=registry,
        )
        self.weights = Counter(
            "loradex_worker_adapter_weight_total",
            "Sum of an adapter's weights in all mixtures; adapters beyond the first 200 that were met are `other`",
            ("adapter",),
            registry=registry,
        )


class Declared(NamedTuple):
    """A metric whose value is looked up when it is asked for."""

    name: str
    help: str
    label: str | None = None
    """Several with spaces between them, as the figure's own label has their values."""


BANK_TOTALS = {
    "hits": Declared(
        "loradex_worker_bank_hits_total", "Adapters that were on the device when they were needed"
    ),
    "misses": Declared("loradex_worker_bank_misses_total", "Adapters that had to be read"),
    "evictions": Declared("loradex_worker_bank_evictions_total", "Adapters that made room for others"),
    "miss_seconds": Declared(
        "loradex_worker_bank_miss_seconds_total", "Seconds that reading missing adapters took"
    ),
}
"""By the names of the bank's own counts."""

BANK_GAUGES = {
    "nbytes": Declared("loradex_worker_bank_bytes", "Bytes of the stacked adapters' place on the device"),
    "held": Declared("loradex_worker_bank_adapters", "Adapters that are on the device"),
    "capacity": Declared("loradex_worker_bank_capacity_adapters", "Adapters that fit on the device at once"),
}

DATABASE_UP = Declared("loradex_database_up", "1 if Postgres gave the figures below, 0 if it did not")

DATABASE = {
    "waiting_jobs": Declared(
        "loradex_queue_waiting_jobs", "Jobs that wait; priorities below 0 are low, above 0 high", "priority"
    ),
    "oldest_waiting_seconds": Declared(
        "loradex_queue_oldest_waiting_seconds", "Age of the oldest job that waits; 0 if none does", "priority"
    ),
    "waiting_jobs_of": Declared(
        "loradex_queue_waiting_jobs_by_asker",
        "Jobs that wait, by how they were handed in: key or login",
        "asker",
    ),
    "open_jobs": Declared(
        "loradex_queue_open_jobs",
        "Jobs of a base model that wait or are held: what workers scale by",
        "base_model",
    ),
    "running_jobs": Declared("loradex_queue_running_jobs", "Jobs that workers hold"),
    "expired_leases": Declared("loradex_queue_expired_leases", "Of these, those whose worker was lost"),
    "unserved_jobs": Declared(
        "loradex_queue_unserved_jobs", "Jobs that wait for a base model or encoder that no living worker has"
    ),
    "ended_jobs": Declared(
        "loradex_queue_ended_jobs",
        "Jobs that ended without an answer in the last 10 minutes, by state and code, whoever ended them; beyond 20 "
        "codes `other`",
        "state code",
    ),
    "max_waiting_jobs": Declared("loradex_queue_max_waiting_jobs", "How many jobs may wait"),
    "living_workers": Declared(
        "loradex_workers_alive", "Workers that gave a sign of life lately", "base_model"
    ),
    "chain_position": Declared("loradex_chain_position", "Links of the audit chain; its head's position"),
    "chain_verified_seconds": Declared(
        "loradex_chain_verified_age_seconds",
        "Since `loradex audit verify --note` last found the chain intact; absent: never",
    ),
    "chain_verified_position": Declared(
        "loradex_chain_verified_position", "Position of the head at that time; absent: never"
    ),
}
"""By the figures of `loradex.monitor_figures`."""
