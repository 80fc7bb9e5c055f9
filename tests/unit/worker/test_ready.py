"""The file that says a worker answers: there from the first moment to the last, and never old while it lives."""

import json
import os
import time
from pathlib import Path

from tests.until import until

from loradex.worker.identity import WorkerIdentity
from loradex.worker.ready import Ready

IDENTITY = WorkerIdentity(
    worker="w",
    base_model="m",
    base_model_revision="1",
    encoder="e",
    encoder_revision="1",
    dimensions=32,
    context_length=256,
    frame="{prompt}",
    device="cpu",
    dtype="float32",
    versions={},
)


def test_it_is_touched_while_the_worker_lives_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "home" / "worker.ready"
    with Ready(path, IDENTITY, touch_every=0.01):
        assert json.loads(path.read_text())["worker"] == "w"
        long_ago = time.time() - 1000
        os.utime(path, (long_ago, long_ago))
        until(lambda: path.stat().st_mtime > long_ago + 500)
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_one_that_somebody_tidied_up_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "worker.ready"
    with Ready(path, IDENTITY, touch_every=0.01):
        path.unlink()
        until(path.exists)
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
