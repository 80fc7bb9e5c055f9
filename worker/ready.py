"""The file that says a worker is ready; `loradex up` waits for it, `loradex status` reads it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from loradex.worker.identity import WorkerIdentity


class Ready:
    """Exists while the worker answers: written whole when it is entered, removed when it is left."""

    def __init__(self, path: Path, identity: WorkerIdentity) -> None:
        self._path = path
        self._identity = identity

    def __enter__(self) -> Self:
        said = {
            "pid": os.getpid(),
            "worker": self._identity.worker,
            "base_model": self._identity.base_model,
            "encoder": self._identity.encoder,
            "device": self._identity.device,
            "dtype": self._identity.dtype,
            "attention": self._identity.attention,
            "quantization": self._identity.quantization,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(said) + "\n", encoding="utf-8")
        draft.replace(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
