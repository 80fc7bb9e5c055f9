"""The command line in this process, on a database of the test's own."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fix_db import Connection
from tests.tiny_library import TinyLibrary

from loradex.library.manifest import BaseModelEntry
from loradex.library.model_store import ModelStore
from loradex.service import cli

Loradex = Callable[..., tuple[int, str, str]]


@contextmanager
def own_logs() -> Iterator[None]:
    """Commands that serve make the log of their process; here it is given back to the tests."""
    root, hooks = logging.getLogger(), (sys.excepthook, sys.unraisablehook, threading.excepthook)
    before = root.handlers[:], root.level, logging.getLogger("loradex").level
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        logging.getLogger("loradex").setLevel(before[2])


@pytest.fixture
def loradex(
    database_url: str,
    tmp_path: Path,
    tiny_library: TinyLibrary,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Loradex:
    """Run a command; gives exit code, standard output and standard error."""
    for name, value in {
        "LORADEX_HOME": tmp_path,
        "LORADEX_DATABASE_URL": database_url,
        "LORADEX_ADAPTER_ROOTS": tmp_path,
        "LORADEX_BASE_MODEL": "tiny-llama",
        "LORADEX_ENCODER": "tiny",
        "LORADEX_ENCODER_PATH": tiny_library.encoder,
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(*arguments: object) -> tuple[int, str, str]:
        with own_logs():
            code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def with_base_model(connection: Connection) -> None:
    ModelStore(connection).put_base_model(
        BaseModelEntry(name="tiny-llama", revision="r", context_length=64, frame="{prompt}")
    )
