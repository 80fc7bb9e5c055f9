import shutil
from pathlib import Path

import pytest
from tests.fix_adapters import MakeAdapter

from loradex.errors import AdapterChangedError, AdapterRefusedError
from loradex.library.adapter_files import content_hash
from loradex.library.adapter_roots import AdapterPlace, AdapterRoots
from loradex.library.installed import starter_library


@pytest.fixture
def places(tmp_path: Path) -> tuple[AdapterRoots, Path, Path]:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "a" / "rte").mkdir(parents=True)
    (two / "sst2").mkdir(parents=True)
    return AdapterRoots.of([one, two], tmp_path), one, two


def test_a_directory_is_stored_relative_to_its_root_and_found_again(
    places: tuple[AdapterRoots, Path, Path],
) -> None:
    roots, one, two = places
    assert roots.uri(one / "a" / "rte") == "a/rte"
    assert roots.locate("a/rte") == one / "a" / "rte"
    assert roots.locate(roots.uri(two / "sst2")) == two / "sst2"


def test_a_root_that_moved_still_finds_its_adapters(
    places: tuple[AdapterRoots, Path, Path], tmp_path: Path
) -> None:
    roots, one, _ = places
    uri = roots.uri(one / "a" / "rte")
    one.rename(tmp_path / "moved")
    assert AdapterRoots.of([tmp_path / "moved"], tmp_path).locate(uri) == tmp_path / "moved" / "a" / "rte"


def test_a_place_that_two_roots_have_is_stored_absolute(places: tuple[AdapterRoots, Path, Path]) -> None:
    roots, one, two = places
    (two / "a" / "rte").mkdir(parents=True)
    assert roots.uri(one / "a" / "rte") == "a/rte"
    assert roots.uri(two / "a" / "rte") == str(two / "a" / "rte")
    assert roots.locate(str(two / "a" / "rte")) == two / "a" / "rte"


def test_outside_the_roots_is_refused(places: tuple[AdapterRoots, Path, Path], tmp_path: Path) -> None:
    roots, _, _ = places
    (tmp_path / "elsewhere").mkdir()
    for outside in (tmp_path / "elsewhere", tmp_path / "one" / ".." / "elsewhere", Path("/"), tmp_path):
        with pytest.raises(AdapterRefusedError, match="LORADEX_ADAPTER_ROOTS"):
            roots.uri(outside)
    with pytest.raises(AdapterRefusedError, match="below none"):
        roots.locate(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("uri", ["../elsewhere", "a/../../elsewhere", "a/\0", "a/../rte"])
def test_a_stored_place_must_not_lead_out(places: tuple[AdapterRoots, Path, Path], uri: str) -> None:
    with pytest.raises(AdapterRefusedError):
        places[0].locate(uri)


def test_links_below_a_root_are_refused(places: tuple[AdapterRoots, Path, Path], tmp_path: Path) -> None:
    roots, one, _ = places
    (tmp_path / "elsewhere").mkdir()
    (one / "out").symlink_to(tmp_path / "elsewhere")
    (one / "within").symlink_to(one / "a")
    for uri in ("out", "within/rte"):
        with pytest.raises(AdapterRefusedError, match="symbolic link"):
            roots.uri(one / uri)
        with pytest.raises(AdapterRefusedError, match="symbolic link"):
            roots.locate(uri)


def test_of_directories_of_one_name_the_hash_tells_which_is_meant(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Whatever comes to lie below an earlier root later: another adapter, nothing that is one, or a link."""
    wanted = make_adapter("two/rte", seed=1)
    sha256 = content_hash(wanted)
    roots = AdapterRoots.of([tmp_path / "one", tmp_path / "two", tmp_path / "three"], tmp_path)
    uri = roots.uri(wanted)
    other = make_adapter("one/rte", seed=2)
    assert roots.locate(uri, sha256) == wanted
    assert roots.locate(uri, content_hash(other)) == other
    (wanted / "adapter_model.safetensors").replace(tmp_path / "kept")
    with pytest.raises(AdapterChangedError, match=f"none of {other}, {wanted} has the content hash {sha256}"):
        roots.locate(uri, sha256)
    (tmp_path / "kept").replace(wanted / "adapter_model.safetensors")
    assert roots.locate(uri, sha256) == wanted, "hashed again, since the file is another"
    shutil.rmtree(other)
    other.mkdir()
    assert roots.locate(uri, sha256) == wanted
    other.rmdir()
    other.symlink_to(make_adapter("elsewhere"))
    assert roots.locate(uri, sha256) == roots.locate(uri) == wanted
    assert roots.uri(wanted) == uri


def test_a_root_that_refuses_a_directory_stands_in_no_other_s_way(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """It is seen through a link below the one, and itself below the other."""
    directory = make_adapter("two/rte")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two")
    roots = AdapterRoots.of([tmp_path / "one", tmp_path / "two"], tmp_path)
    assert roots.place(tmp_path / "one" / "link" / "rte") == AdapterPlace(str(tmp_path / "two"), "rte")
    assert roots.locate(str(tmp_path / "one" / "link" / "rte")) == directory


@pytest.mark.parametrize("uri", ["x" * 300, "loop/rte"])
def test_what_no_file_system_finds_is_gone(places: tuple[AdapterRoots, Path, Path], uri: str) -> None:
    roots, one, _ = places
    (one / "loop").symlink_to(one / "loop")
    with pytest.raises((AdapterChangedError, AdapterRefusedError)):
        roots.locate(uri)


def test_a_root_may_itself_be_a_link(places: tuple[AdapterRoots, Path, Path], tmp_path: Path) -> None:
    _, one, _ = places
    (tmp_path / "alias").symlink_to(one)
    roots = AdapterRoots.of([tmp_path / "alias"], tmp_path)
    assert roots.uri(tmp_path / "alias" / "a" / "rte") == "a/rte"
    assert roots.uri(one / "a" / "rte") == "a/rte"


def test_a_directory_that_is_gone_is_said(places: tuple[AdapterRoots, Path, Path]) -> None:
    for uri in ("a/gone", str(places[1] / "gone")):
        with pytest.raises(AdapterChangedError, match="no such directory"):
            places[0].locate(uri)


def test_without_configuration_the_library_and_the_trained_adapters_are_found(tmp_path: Path) -> None:
    roots = AdapterRoots.of([], tmp_path)
    assert (tmp_path / "train").resolve() in roots.roots
    assert starter_library().parent.resolve() in roots.roots
