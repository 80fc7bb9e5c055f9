"""The bank past its budget: 1,500 adapters, room for 64, mixtures of 4 drawn by Zipf's law."""

import gc
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from loradex.benchmarks import subjects
from loradex.benchmarks.frame import Measure, finish, options
from loradex.library.adapter_files import content_hash
from loradex.worker.engine.bank import AdapterBank, Key
from loradex.worker.engine.layout import Shape
from loradex.worker.engine.modules import shapes_of

REGISTERED = 1500
ROOM = 64
DRAWN = 1000
SKEW = 1.1
MEMORY = 1.1


def main() -> None:
    chosen = options(__doc__, counted=("mixtures", DRAWN))
    model, _ = subjects.base(chosen)
    shapes = {name: shape for name, shape in shapes_of(model).items() if "lm_head" not in name}
    dtype = next(model.parameters()).dtype
    with tempfile.TemporaryDirectory(prefix="loradex-bank-") as folder:
        directories = _registered(Path(folder), shapes)
        slot = subjects.RANK * sum(shape.d_in + shape.d_out for shape in shapes.values()) * dtype.itemsize
        budget = ROOM * slot
        ranks = np.random.default_rng(0).zipf(SKEW, size=40 * chosen.count)
        mixtures = _distinct([int(rank) - 1 for rank in ranks if rank <= REGISTERED])
        hashes = list(directories)
        gc.collect()
        before = psutil.Process().memory_info().rss
        bank = AdapterBank(shapes, torch.device(chosen.device), dtype, budget, 0)
        bank.ensure(directories)
        hits = []
        for mixture in mixtures[: chosen.count]:
            missed = bank.counts.misses
            start = time.perf_counter()
            bank.acquire(Key(hashes[place]) for place in mixture)
            if bank.counts.misses == missed:
                hits.append(time.perf_counter() - start)
        gc.collect()
        resident = psutil.Process().memory_info().rss - before
    counts = bank.counts
    figures = {
        "hit_rate": round(counts.hits / (counts.hits + counts.misses), 4),
        "ms_per_miss": round(1000 * counts.miss_seconds / counts.misses, 3),
        "ms_per_mixture_of_hits": round(1000 * statistics.median(hits), 4),
        "evictions": counts.evictions,
        "budget_bytes": budget,
        "stacks_bytes": bank.nbytes,
        "resident_bytes": resident,
    }
    measure = Measure(
        ratio=round(MEMORY * budget / resident, 4),
        bar=1.0,
        what=f"resident memory against {MEMORY:g} times the budget",
        sides=figures,
    )
    notes = [
        f"{REGISTERED} adapters, budget for {ROOM}, {chosen.count} mixtures of {subjects.MIXED}, Zipf {SKEW}",
        f"rank {subjects.RANK} on all linear modules; {subjects.ADAPTERS} weight files under 1,500 configs",
        "a miss reads the files (in the page cache), checks their hash and copies them into the stacks",
    ]
    finish("bank", chosen, [measure], None, notes)


def _registered(root: Path, shapes: dict[str, Shape]) -> dict[str, Path]:
    """1,500 directories of different content; some share a weight file by hard links, to spare the disk."""
    targets = sorted({name.rsplit(".", 1)[-1] for name in shapes})
    sources = [
        subjects.random_adapter(root / f"source{seed}", shapes, seed) for seed in range(subjects.ADAPTERS)
    ]
    made = {}
    for number in range(REGISTERED):
        directory = root / f"a{number}"
        directory.mkdir()
        os.link(
            sources[number % len(sources)] / "adapter_model.safetensors",
            directory / "adapter_model.safetensors",
        )
        subjects.write_config(directory, targets, 1 + number // len(sources))
        made[content_hash(directory)] = directory
    return made


def _distinct(drawn: list[int]) -> list[list[int]]:
    """Mixtures of four different adapters, in the order drawn."""
    mixtures: list[list[int]] = []
    mixture: list[int] = []
    for place in drawn:
        if place not in mixture:
            mixture.append(place)
        if len(mixture) == subjects.MIXED:
            mixtures.append(mixture)
            mixture = []
    return mixtures


if __name__ == "__main__":
    main()
