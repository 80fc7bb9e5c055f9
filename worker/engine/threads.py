"""How many threads torch uses for a stretch of work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread until the end, then as many as before.

    For chains of many small operations: each is a meeting of all threads, and where another program holds a
    core, every meeting waits for it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
