"""`affinities.json`: read back as written, refused when it is not the library's."""

import json
import os
from typing import Any

import pytest
from tests.fix_library import SmallLibrary

from loradex.errors import LibraryCorruptError
from loradex.library.affinities import AFFINITIES, Affinity, write_affinities
from loradex.library.cards import TaskCard
from loradex.library.load import open_library
from loradex.library.manifest import entry_of, read_manifest, write_manifest

SCORES = {
    "rivers": {"tools": Affinity(score=0.25, n=8), "weather": Affinity(score=0.5, n=8)},
    "tools": {"tools": Affinity(score=1.0, n=3)},
}


def test_figures_are_read_back_and_those_of_strangers_left_out(
    small_library: SmallLibrary, cards: dict[str, TaskCard]
) -> None:
    assert open_library(small_library.directory, cards).affinities == {}
    with_strangers = {
        **SCORES,
        "tools": {**SCORES["tools"], "anvils": Affinity(score=0.1, n=1)},
        "anvils": {"tools": Affinity(score=0.1, n=1)},
    }
    write_affinities(small_library.directory, small_library.manifest, with_strangers)
    assert open_library(small_library.directory, cards).affinities == SCORES


def test_a_write_that_fails_leaves_the_library_as_it_was(
    small_library: SmallLibrary, cards: dict[str, TaskCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_affinities(small_library.directory, small_library.manifest, SCORES)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_affinities(small_library.directory, small_library.manifest, {})
    assert open_library(small_library.directory, cards).affinities == SCORES


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"scores": {"rivers": {"tools": {"score": 1.5, "n": 8}}}},
        {"scores": {"rivers": {"tools": {"score": "NaN", "n": 8}}}},
        {"scores": {"rivers": {"tools": {"score": 0.5, "n": 0}}}},
        {"scores": {"rivers": {"tools": {"score": 0.5}}}},
        {"scores": {"rivers": {"anvils": {"score": 0.5, "n": 8}}}},
        {"scores": {"anvils": {"tools": {"score": 0.5, "n": 8}}}},
        {"scores": [1]},
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(
    small_library: SmallLibrary, cards: dict[str, TaskCard], changed: dict[str, Any]
) -> None:
    path = small_library.directory / AFFINITIES
    write_affinities(small_library.directory, small_library.manifest, SCORES)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    manifest = read_manifest(small_library.directory)
    files = manifest.files | {AFFINITIES: entry_of(path.read_bytes())}
    write_manifest(small_library.directory, manifest.model_copy(update={"files": files}))
    with pytest.raises(LibraryCorruptError, match=r"affinities\.json: .*measure it anew"):
        open_library(small_library.directory, cards)
