"""The file that says a worker is ready; `loradex up` waits for it, `loradex status` reads it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from loradex.worker.identity import WorkerIdentity
from loradex.worker.repeating import Repeating

TOUCH_EVERY_SECONDS = 5.0
"""A probe that ends a worker, as the chart's does, gives it two minutes."""


class Ready:
    """Exists while the worker answers: written whole when it is entered, removed when it is left.

    Meanwhile it is touched again and again by a thread that waits for nobody, so that its age tells whether the process
    lives, whatever Postgres, Redis or a long answer do.
    """

    def __init__(
        self, path: Path, identity: WorkerIdentity, touch_every: float = TOUCH_EVERY_SECONDS
    ) -> None:
        self._path = path
        self._identity = identity
        self._repeating = Repeating("ready", self._touch, touch_every)

    def __enter__(self) -> Self:
        self._write()
        self._repeating.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._repeating.__exit__(kind, error, trace)
        self._path.unlink(missing_ok=True)

    def _touch(self) -> None:
        try:
            os.utime(self._path)
        except FileNotFoundError:
            # Somebody tidied up.
            self._write()

    def _write(self) -> None:
        said = {
            "pid": os.getpid(),
            "worker": self._identity.worker,
            "base_model": self._identity.base_model,
            "encoder": self._identity.encoder,
            "device": self._identity.device,
            "dtype": self._identity.dtype,
            "attention": self._identity.attention,
            "quantization": self._identity.quantization,
            "device_map": self._identity.device_map,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(said) + "\n", encoding="utf-8")
        draft.replace(self._path)
