"""Paths of other servers lead nowhere here; what is told instead is there."""

import re

import pytest

from loradex.service.api.elsewhere import told_of
from loradex.service.api.openapi import OPERATIONS


@pytest.mark.parametrize(
    "path",
    ["/v1/batches", "/v1/batches/batch_1/cancel", "/v1/files", "/v1/files/file-1/content", "/v1/responses"],
)
def test_what_is_told_instead_is_there(path: str) -> None:
    told = told_of(path)
    assert told is not None
    named = set(re.findall(r"([A-Z]+) (/v1/[\w/{}]+)", told))
    assert named
    assert named <= OPERATIONS.keys()


def test_of_other_paths_nothing_is_told() -> None:
    assert [told_of(path) for path in ("/v1/batch", "/v1/answers/x/y", "/", "/v1/files2")] == [None] * 4
