"""The file that says a worker is ready; `loradex up` waits for it, `loradex status` reads it."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from loradex.worker.station import Station


class Ready:
    """Exists while the worker answers: written whole when it is entered, removed when it is left."""

    def __init__(self, path: Path, station: Station) -> None:
        self._path = path
        self._station = station

    def __enter__(self) -> Self:
        said = {
            "pid": os.getpid(),
            "worker": self._station.worker,
            "base_model": self._station.base_model,
            "encoder": self._station.encoder,
            "device": self._station.device,
            "dtype": self._station.dtype,
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
