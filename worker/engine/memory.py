"""Memory of the device: what adapters and rows have of it, and what is done when it runs out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

MIB: Final = 1 << 20
CPU_ROOM: Final = 2 << 30
"""Bytes for rows on a CPU at most, where other programs need memory too."""
HOST_BANK_SHARE: Final = 16
HOST_ROOM_SHARE: Final = 8
DEVICE_BANK_SHARE: Final = 4
LEAST_BANK: Final = 256 * MIB
LEAST_ADAPTERS: Final = 16
"""For how many adapters the bank has room, however few are registered yet."""
USUAL_RANK: Final = 64
"""The rank that adapters may have where none is registered."""
CGROUP: Final = Path("/sys/fs/cgroup")
"""Where the system tells of a container: its limit, what it uses, and what of that is pages of files."""
TOLD: Final = (
    ("memory.max", "memory.current", "memory.stat", ("active_file", "inactive_file"), "file_mapped"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_active_file", "total_inactive_file"),
        "total_mapped_file",
    ),
)
"""By which names, in the second version of control groups and in the first."""
MEMINFO: Final = Path("/proc/meminfo")


@dataclass(frozen=True)
class Expected:
    """The adapters of the base model that are registered: how many, and the greatest rank of one."""

    adapters: int = 0
    rank: int = 0


NOTHING_EXPECTED: Final = Expected()


@dataclass(frozen=True)
class Budgets:
    """Bytes of the device for stacked adapters, and for what rows in hand need."""

    bank: int
    rows: int


def budgets(free: int, slot: int, adapters: int, *, shared: bool) -> Budgets:
    """What suits a device.

    The bank has room for all adapters, for 16 at least and for 256 MiB in any case, but takes no more than a quarter
    of what is free: a sixteenth where other programs need memory too. Rows have half of the rest there, an eighth of
    it and 2 GiB at most here.

    Args:
        free: Bytes that are free of it once the model is there.
        slot: Bytes of one adapter.
        adapters: How many there are.
        shared: Whether it is a host's memory.
    """
    wanted = max(LEAST_BANK, slot * max(LEAST_ADAPTERS, adapters))
    bank = min(wanted, free // (HOST_BANK_SHARE if shared else DEVICE_BANK_SHARE))
    left = free - bank
    return Budgets(bank, min(CPU_ROOM, left // HOST_ROOM_SHARE) if shared else left // 2)


def free_bytes(device: torch.device) -> int:
    """Bytes that are free of a GPU, or of this host and what its container may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return _host_bytes()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out; on a CPU torch has no type of its own for it."""
    if isinstance(error, torch.AcceleratorError):
        # From a library that asks the driver by itself.
        return "out of memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def release_cached_memory() -> None:
    """Gives pages back that torch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _host_bytes() -> int:
    return min([_available_bytes(), *_container_bytes()])


def _container_bytes() -> Iterator[int]:
    """What a container may still take, if it has a limit: pages of files that nobody mapped are given back first."""
    for most, current, stat, files, mapped in TOLD:
        limit, used = _read(CGROUP / most), _read(CGROUP / current)
        # Where there is no limit, it says "max".
        if limit.isdigit() and used.isdigit():
            found = dict(line.split() for line in _read(CGROUP / stat).splitlines())
            kept = sum(int(found.get(name, 0)) for name in files) - int(found.get(mapped, 0))
            yield max(0, int(limit) - int(used) + max(0, kept))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _available_bytes() -> int:
    """What programs may still take, pages of files counted as free; all there is where the system does not tell."""
    if MEMINFO.is_file():
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
