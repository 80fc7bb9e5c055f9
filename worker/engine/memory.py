"""Memory of the device: how much there is for rows, and what is done when it runs out."""

import os
from pathlib import Path
from typing import Final

import torch

CPU_ROOM: Final = 2 << 30
"""Bytes for rows on a CPU at most, where other programs need memory too."""
CGROUP: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


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
    told = [path.read_text(encoding="ascii").strip() for path in CGROUP if path.is_file()]
    # Where there is no limit, it says "max".
    limits = [int(text) for text in told if text.isdigit()]
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])
