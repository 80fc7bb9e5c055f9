"""Replays that are fetched for long: nobody is told that the worker died, and its end waits for none."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from tests.until import until

from loradex.worker import replaying
from loradex.worker.aside import Aside
from loradex.worker.replaying import Replaying


class Site:
    """A database with one replay, whose answer is read for as long as it is wished."""

    def __init__(self) -> None:
        self.request = uuid4()
        self.waiting = [(self.request, uuid4())]
        self.kept: list[UUID] = []
        self.released: list[UUID] = []
        self.reads = threading.Event()
        self.go_on = threading.Event()
        self.stop = threading.Event()
        self.replaying = Replaying(
            cast(Any, self),
            engine=cast(Any, SimpleNamespace(dtype="float32", quantization=None, files=None)),
            aside=Aside(),
            adapters=cast(Any, None),
            identity=cast(Any, None),
            stop=self.stop,
        )

    def claim_replay(self, _: str) -> tuple[UUID, UUID] | None:
        return self.waiting.pop() if self.waiting else None

    def stored(self, _: UUID) -> Any:
        self.reads.set()
        assert self.go_on.wait(60)
        return {"erased": True}

    def keep_replay(self, request: UUID) -> bool:
        self.kept.append(request)
        return True

    def release_replay(self, request: UUID) -> None:
        self.released.append(request)

    def refuse_replay(self, request: UUID, code: str, message: str) -> None:
        """Its question was erased."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(replaying, "LIFE_SECONDS", 0.05)
    monkeypatch.setattr(replaying, "PATIENCE_SECONDS", 0.1)
    made = Site()
    yield made
    made.go_on.set()


def test_signs_of_life_are_given_while_it_is_prepared(site: Site) -> None:
    with site.replaying:
        site.replaying.ring()
        until(lambda: len(site.kept) >= 3)
        assert set(site.kept) == {site.request}
        site.go_on.set()


def test_a_worker_that_ends_gives_it_back_and_does_not_wait_for_it(site: Site) -> None:
    with site.replaying:
        site.replaying.ring()
        assert site.reads.wait(10)
    assert not site.go_on.is_set()
    assert site.released == [site.request]


def test_one_that_is_over_is_not_given_back(site: Site) -> None:
    site.go_on.set()
    with site.replaying:
        site.replaying.ring()
        until(lambda: site.reads.is_set() and site.replaying._at is None)
    assert site.released == []
