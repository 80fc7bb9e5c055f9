"""What a forked process has of its parent: whatever holds connections or threads begins anew there.

A fork copies descriptors and no thread but one. Two processes that talk over one connection read each other's answers,
and whoever waits for a thread of the parent waits for ever.
"""

import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet


class Holder(Protocol):
    """Who holds what a fork copies."""

    def renew(self) -> None:
        """Be as new: called in the child before anything else, while it has one thread. Locks may be anybody's."""


_holders: WeakSet[Holder] = WeakSet()


def renew_after_fork(holder: Holder) -> None:
    """Have it renewed in every process that is forked from this one, for as long as it lives."""
    _holders.add(holder)


def let_go(descriptors: Iterable[int]) -> None:
    """Close the child's copies of these, without a word to who is at the other end.

    Each leads nowhere from now on instead of being free: who holds it does not know, and may close it later.
    """
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor, inheritable=False)
    os.close(nowhere)


def _renew_all() -> None:
    for holder in list(_holders):
        holder.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
