"""`loradex adapter convert`: an adapter's pickle into safetensors, without trusting it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from loradex import terminal

PROGRAM = "loradex.worker.engine.pickled_adapter"
SECONDS = 300.0


def convert(
    directory: Annotated[Path, typer.Argument(help="PEFT directory with an adapter_model.bin.")],
    to: Annotated[
        Path | None, typer.Option(help="Where to write the adapter; into the same directory if not given.")
    ] = None,
) -> None:
    """Write an adapter's weights as safetensors, which is what `adapter register` reads.

    A pickle can run code. It is read as weights alone, in a process that may open nothing and start nothing.

    Example: loradex adapter convert /srv/adapters/old-rte
    """
    from loradex.errors import AdapterRefusedError
    from loradex.library.adapter_files import (
        CONFIG,
        MAX_CONFIG_BYTES,
        MAX_WEIGHTS_BYTES,
        WEIGHTS,
        read_regular,
    )
    from loradex.library.adapter_others import PICKLES
    from loradex.library.adapter_writing import new_files

    pickle = next((directory / name for name in PICKLES if os.path.lexists(directory / name)), None)
    if pickle is None:
        raise AdapterRefusedError(
            f"{directory}: there is no {PICKLES[0]} in it; name the adapter's directory"
        )
    place = to or directory
    if os.path.lexists(place / WEIGHTS):
        raise AdapterRefusedError(f"{place / WEIGHTS}: it is there already; register {place} as it is")
    config = read_regular(directory / CONFIG, MAX_CONFIG_BYTES)
    raw = read_regular(pickle, MAX_WEIGHTS_BYTES)
    there = os.path.lexists(place / CONFIG)
    if there and read_regular(place / CONFIG, MAX_CONFIG_BYTES) != config:
        raise AdapterRefusedError(
            f"{place / CONFIG}: another adapter's config is there already; name another directory with --to"
        )
    # The weights come last: nothing reads an adapter without them.
    with new_files(place, (WEIGHTS,) if there else (CONFIG, WEIGHTS)) as draft:
        if not there:
            (draft / CONFIG).write_bytes(config)
        with (draft / WEIGHTS).open("wb") as weights:
            _unpickle(pickle, raw, weights.fileno())
            os.fsync(weights.fileno())
    terminal.say(f"{place / WEIGHTS} is written; {pickle.name} is not needed any more")
    terminal.say(f"to register it: loradex adapter register {place} --task TASK")


def _unpickle(pickle: Path, raw: bytes, output: int) -> None:
    """Let a process without rights write the tensors; `AdapterRefusedError` says why it did not."""
    from loradex.errors import AdapterRefusedError

    environment = {"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", PROGRAM],
            input=raw,
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AdapterRefusedError(
            f"{pickle}: reading it took longer than {SECONDS:.0f} s; save it again with PEFT, as safetensors"
        ) from None
    told = done.stderr.decode(errors="replace").strip().split("\n")[-1]
    if "No module named" in told:
        raise AdapterRefusedError(f"{pickle}: reading a pickle needs torch: pip install 'loradex[worker]'")
    if done.returncode != 0:
        raise AdapterRefusedError(
            f"{pickle}: only weights are read from a pickle; {told or f'its reader ended with {done.returncode}'}; "
            "save it again with PEFT, as safetensors"
        )
