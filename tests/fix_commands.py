"""The command line in this process, on a database of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fix_db import Connection
from tests.tiny_library import TinyLibrary

from loradex.library.manifest import BaseModelEntry
from loradex.library.model_store import ModelStore
from loradex.service import cli

Loradex = Callable[..., tuple[int, str, str]]


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
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def with_base_model(connection: Connection) -> None:
    ModelStore(connection).put_base_model(
        BaseModelEntry(name="tiny-llama", revision="r", context_length=64, frame="{prompt}")
    )
