"""A stack that benchmarks ask: Postgres, Valkey and one worker with the real model, gone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.worker_process import WorkerProcess

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Options
from loradex.db import migrate
from loradex.db.session import connect
from loradex.embedded import EmbeddedPostgres, EmbeddedValkey
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.cards import load_cards
from loradex.library.installed import starter_library
from loradex.library.load import load_library, open_library
from loradex.service.client import Client

BANK_BYTES = 256 << 20


@contextmanager
def serving(chosen: Options, **settings: str) -> Iterator[tuple[Client, WorkerProcess]]:
    """A client of a stack of its own, and its worker: the starter library, this benchmark's threads.

    `settings` are further ones of the worker, without LORADEX_.
    """
    home = Path(tempfile.mkdtemp(prefix="loradex-bench-"))
    home.chmod(0o755)
    postgres, valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
    try:
        url, redis_url = postgres.start(), valkey.start()
        migrate.upgrade(url)
        cards = load_cards()
        with connect(url) as connection:
            load_library(
                connection,
                open_library(starter_library(), cards),
                cards,
                AdapterRoots.of((), home),
                lambda _: None,
            )
        worker = WorkerProcess(
            home,
            {
                "DATABASE_URL": url,
                "REDIS_URL": redis_url,
                "BASE_MODEL_PATH": str(subjects.model_path()),
                "BANK_BYTES": str(BANK_BYTES),
                "DEVICE": chosen.device,
                "DTYPE": chosen.dtype,
                "THREADS": str(chosen.threads),
                **settings,
            },
        ).start()
        try:
            with Client(url, redis_url) as client:
                yield client, worker
        finally:
            worker.kill()
    finally:
        valkey.destroy()
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)
