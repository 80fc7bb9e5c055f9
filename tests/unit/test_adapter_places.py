import pytest

from db.errors import AdapterRefusedError
from worker.adapters import AdapterFiles


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "nli" / "v1").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "root"


def test_absolute_relative_and_file_addresses_below_a_root_are_found(root):
    files = AdapterFiles([root])
    directory = root / "nli" / "v1"
    assert files.directory(str(directory)) == directory
    assert files.directory("nli/v1") == directory
    assert files.directory(f"file://{directory}") == directory


@pytest.mark.parametrize("address", ["../outside", "nli/../../outside", "/etc", "nowhere", ""])
def test_everything_else_is_refused(root, address):
    with pytest.raises(AdapterRefusedError, match="LORADEX_ADAPTER_ROOTS"):
        AdapterFiles([root]).directory(address)


def test_a_link_out_of_the_root_is_refused(root):
    (root / "link").symlink_to(root.parent / "outside")
    with pytest.raises(AdapterRefusedError):
        AdapterFiles([root]).directory("link")


def test_without_roots_nothing_is_found(root):
    with pytest.raises(AdapterRefusedError, match="none"):
        AdapterFiles([]).directory(str(root))
