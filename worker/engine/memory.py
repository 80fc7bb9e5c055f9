"""Memory of the device: how much there is for rows, and what is done when it runs out."""

from pathlib import Path
from typing import Final

import torch

GIB: Final = 1 << 30
CPU_ROOM: Final = 2 * GIB
"""Bytes for rows on a CPU at most, where other programs need memory too."""
CGROUP: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MEMINFO: Final = Path("/proc/meminfo")


def room_of(device: torch.device) -> int:
    """Bytes for keys, values, factors and logits of rows in hand: half of what is free of a GPU, an eighth of a host.

    What a host has is what its container may take.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) // 2
    return min(CPU_ROOM, _host_bytes() // 8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out; on a CPU torch has no type of its own for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def release_cached_memory() -> None:
    """Gives pages back that torch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _host_bytes() -> int:
    found = [CPU_ROOM * 8]
    if MEMINFO.is_file():
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="ascii").splitlines())
        found.append(int(fields["MemTotal"].split()[0]) << 10)
    found += [
        int(text)
        for path in CGROUP
        if path.is_file() and (text := path.read_text(encoding="ascii").strip()).isdigit()
    ]
    return min(found)
