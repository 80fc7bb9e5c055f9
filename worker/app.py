"""The worker's composition root: everything is made here once, and handed on."""

import _thread
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from types import FrameType

import structlog
from prometheus_client import CollectorRegistry

from loradex.addresses import addresses
from loradex.collector import tracing
from loradex.program import PROGRAM
from loradex.worker.answering import Answering
from loradex.worker.aside import Aside
from loradex.worker.embedding import Embedding
from loradex.worker.ending import Ending
from loradex.worker.engine.embed import Encoder
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.float32 import Float32
from loradex.worker.engine.form import numbers
from loradex.worker.engine.load import shipped_model
from loradex.worker.engine.quantization import packages_of
from loradex.worker.engine.quiet import quiet
from loradex.worker.engine.vllm.arguments import told
from loradex.worker.engines import load_engine
from loradex.worker.exposed import exposed
from loradex.worker.identity import WorkerIdentity, expected_adapters, register_models, versions
from loradex.worker.intake import Intake
from loradex.worker.jobs import Abilities, Jobs
from loradex.worker.leases import Leases
from loradex.worker.logs import log_as_json
from loradex.worker.notifications import Notifications
from loradex.worker.observer import Observer
from loradex.worker.pieces import Pieces
from loradex.worker.presence import Presence
from loradex.worker.ready import Ready
from loradex.worker.repeating import Repeating
from loradex.worker.replaying import Replaying
from loradex.worker.settings import WorkerSettings
from loradex.worker.wakeup import celery_app, listen

PATIENCE_SECONDS = 15.0
"""How long a worker that ends waits for an answer of Postgres: longer than for any lock, whose limit is 10 s."""

LOOK_EVERY_SECONDS = 0.5


def serve(settings: WorkerSettings) -> None:
    """Answer jobs until SIGTERM or Ctrl-C.

    Raises:
        DeviceBrokenError: The device computes nothing more; whoever started this process is to start it anew.
    """
    log_as_json(settings.log_level)
    quiet()
    PROGRAM.set("loradex worker")
    database_url, redis_url = addresses(settings)
    worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    token = secrets.token_hex(32)
    model = settings.base_model_path or shipped_model(settings.home / "cache" / "models")
    float32 = Float32()
    engine = load_engine(settings, model, expected_adapters(database_url, settings.base_model), float32)
    structlog.get_logger("worker").info(
        "worker.loaded",
        base_model=settings.base_model,
        device=str(engine.device),
        numbers=numbers(engine.dtype, engine.quantization),
        attention=engine.attention,
        bank_bytes=engine.budgets.bank,
        batch_bytes=engine.budgets.rows,
        places=settings.batch_rows,
        reserved=settings.reserved,
    )
    encoder = Encoder.load(settings.encoder_path, engine.device.type, float32)

    def jobs() -> Jobs:
        lease = timedelta(seconds=settings.lease_seconds)
        return Jobs(
            database_url,
            worker,
            base_model=settings.base_model,
            encoder=settings.encoder,
            lease=lease,
            max_attempts=settings.max_attempts,
            retry_for=lease,
            token=token,
            prepare_threshold=settings.prepare_threshold,
        )

    # One connection for each thread that calls Postgres: none of them waits for another's call.
    claiming, recording, keeping, reading = jobs(), jobs(), jobs(), jobs()
    identity = register_models(
        database_url,
        WorkerIdentity(
            worker=worker,
            base_model=settings.base_model,
            base_model_revision=engine.files.revision,
            encoder=settings.encoder,
            encoder_revision=encoder.revision,
            dimensions=encoder.dimensions,
            context_length=engine.context_length,
            frame=settings.frame,
            device=engine.device.type,
            dtype=engine.dtype,
            attention=engine.attention,
            quantization=engine.quantization,
            device_map=engine.device_map,
            versions={
                **versions(engine.files, packages_of(engine.quantization), vllm=settings.engine == "vllm"),
                **(told(settings.vllm_arguments, engine.dtype) if settings.engine == "vllm" else {}),
            },
            modules=engine.bank.sizes,
        ),
    )
    registry = CollectorRegistry()
    observer = Observer(registry, identity, engine.bank)
    stop = threading.Event()
    leases = Leases(keeping)
    roots = settings.roots()
    presence = Presence(
        keeping,
        Abilities(
            device=identity.device,
            dtype=numbers(identity.dtype, identity.quantization),
            adapter_roots=roots.announced,
            batch_rows=settings.batch_rows,
            versions=identity.versions,
        ),
    )
    pieces = Pieces(redis_url)
    ending = Ending(recording, leases=leases, pieces=pieces, observer=observer, identity=identity)
    aside = Aside()
    answering = Answering(
        intake=Intake(
            claiming, leases=leases, ending=ending, encoder=encoder, adapters=roots, identity=identity
        ),
        engine=engine,
        ending=ending,
        leases=leases,
        pieces=pieces,
        rows=settings.batch_rows,
        reserved=settings.reserved,
        linger=settings.linger_ms / 1000,
        stop=stop,
        observer=observer,
        aside=aside,
    )
    listen_url = database_url if settings.listen_url is None else settings.listen_url.get_secret_value()
    embedding = Embedding(reading, encoder, stop, answering.lose)
    # vLLM does not say how much likelier another token was.
    replaying = (
        Replaying(reading, engine=engine, aside=aside, adapters=roots, identity=identity, stop=stop)
        if isinstance(engine, Engine)
        else None
    )

    def ring() -> None:
        answering.ring()
        embedding.ring()
        if replaying is not None:
            replaying.ring()

    app = celery_app(redis_url, ring)

    gone = threading.Event()

    def hang_up() -> None:
        # One that does not answer one thread answers no other either.
        if not stop.is_set():
            return
        for one in (claiming, recording, keeping, reading):
            if one.hang_up(0.0 if gone.is_set() else PATIENCE_SECONDS):
                gone.set()

    # It needs no Redis: with the bell dead or lost, answers come later by at most these seconds, and come.
    sweep = Repeating("sweep", ring, settings.sweep_seconds, stop)
    with (
        exposed(settings, database_url, registry, observer, stop),
        tracing("loradex-worker"),
        _stopped_by_signals(stop),
        closing(claiming),
        closing(recording),
        closing(keeping),
        closing(reading),
        # Left after those below: each of them may wait for an answer.
        Repeating("hang up", hang_up, LOOK_EVERY_SECONDS),
        leases,
        pieces,
        presence,
        answering,
        embedding,
        nullcontext() if replaying is None else replaying,
        Ready(settings.ready_path, identity),
        sweep,
        Notifications(listen_url, ring, stop, leases.told),
    ):
        listen(app, stop)
    if answering.lost is not None:
        raise answering.lost
    structlog.get_logger("worker").info("worker.ended")


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set `stop`; nothing else ends the worker."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        # From a thread: the interrupted code may hold the lock of `stop`, and it waits until we return.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
