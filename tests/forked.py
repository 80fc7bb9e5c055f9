"""Worker programs forked from a process that has imported torch once; each is a process of its own.

A program started anew spends seven of its eight seconds of computing on imports. What is killed, stopped and
cut off here is as real; only how it came to be differs.
"""

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest import mock

from loradex.worker.__main__ import main

# Read when torch and its companions are imported, so the server must have them.
AT_IMPORT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class ForkedWorker:
    """A running worker, with the words of `subprocess.Popen`.

    Args:
        environment: All its environment variables.
        folder: Where it runs.
        log: The file to which what it prints is added.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self._process = _server().Process(
            target=_serve, args=(dict(environment) | AT_IMPORT, folder, log), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loradex.worker.app", "tests.forked"])
    with mock.patch.dict(os.environ, AT_IMPORT):
        forkserver.ensure_running()
    return context


def _serve(environment: dict[str, str], folder: Path, log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    sys.exit(main())
