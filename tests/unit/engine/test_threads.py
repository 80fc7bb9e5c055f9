"""One thread for a stretch of work, and as many as before after it."""

from collections.abc import Iterator

import pytest
import torch

from loradex.worker.engine.threads import one_thread


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def broken() -> None:
    with one_thread():
        raise RuntimeError(f"broken on {torch.get_num_threads()}")


@pytest.mark.usefixtures("two_threads")
def test_the_threads_come_back_even_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="broken on 1"):
        broken()
    assert torch.get_num_threads() == 2
