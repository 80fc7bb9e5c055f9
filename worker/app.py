"""The worker's composition root: everything is made here once, and handed on."""

import os
import secrets
import socket
import threading
from datetime import timedelta

from loradex.addresses import addresses
from loradex.library.adapter_roots import AdapterRoots
from loradex.worker import tasks
from loradex.worker.batch import Answering, Limits
from loradex.worker.doorbell import bell_app, listen
from loradex.worker.engine.embed import Encoder
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.load import model_revision, shipped_model
from loradex.worker.jobs import Jobs
from loradex.worker.leases import Leases
from loradex.worker.logs import log_as_json
from loradex.worker.ready import Ready
from loradex.worker.settings import WorkerSettings
from loradex.worker.station import Station, introduce, library_versions
from loradex.worker.sweep import Sweep


def serve(settings: WorkerSettings) -> None:
    """Answer jobs until SIGTERM or Ctrl-C."""
    log_as_json(settings.log_level)
    database_url, redis_url = addresses(settings)
    worker = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    model = settings.base_model_path or shipped_model(settings.home / "cache" / "models")
    engine = Engine.load(model, settings.device, settings.dtype, settings.bank_bytes, settings.threads)
    encoder = Encoder.load(settings.encoder_path, engine.device.type)

    def jobs() -> Jobs:
        lease = timedelta(seconds=settings.lease_seconds)
        return Jobs(
            database_url,
            worker,
            base_model=settings.base_model,
            encoder=settings.encoder,
            lease=lease,
            max_attempts=settings.max_attempts,
            patience=lease,
        )

    answering_jobs, lease_jobs = jobs(), jobs()
    station = introduce(
        database_url,
        Station(
            worker=worker,
            base_model=settings.base_model,
            base_model_revision=model_revision(model),
            encoder=settings.encoder,
            encoder_revision=encoder.revision,
            dimensions=encoder.dimensions,
            context_length=engine.context_length,
            frame=settings.frame,
            device=engine.device.type,
            dtype=engine.dtype,
            versions=library_versions(),
        ),
    )
    stop = threading.Event()
    leases = Leases(lease_jobs)
    answering = Answering(
        jobs=answering_jobs,
        leases=leases,
        engine=engine,
        encoder=encoder,
        adapters=AdapterRoots.of(settings.adapter_roots, settings.home),
        station=station,
        limits=Limits(settings.batch_rows, settings.batch_tokens, settings.linger_ms / 1000),
        stop=stop,
    )
    sweep = Sweep(answering, settings.sweep_seconds, stop)
    app = bell_app(redis_url)
    tasks.register(app, answering)
    with leases, Ready(settings.ready_path, station), sweep:
        listen(app, stop)
    answering_jobs.close()
    lease_jobs.close()
