"""Splits a batch into forward passes: near lengths together, so that little is padding."""

from collections.abc import Sequence

PADDING = 0.25


def pack_by_length(
    lengths: Sequence[int], *, rows: int, tokens: int, padding: float = PADDING
) -> list[list[int]]:
    """Indices of `lengths` in groups, shortest first.

    A group has at most `rows` members, costs at most `tokens` (members x longest; a single longer member is
    a group of its own), and wastes less than `padding` of its tokens. Every index is in exactly one group.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    used = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        cost = (len(group) + 1) * lengths[index]
        wasted = cost - used - lengths[index]
        if group and (len(group) == rows or cost > tokens or wasted >= padding * cost):
            groups.append(group)
            group, used = [], 0
        group.append(index)
        used += lengths[index]
    return [*groups, group] if group else groups
