"""Whether registered adapters are still on disk as they were registered."""

from dataclasses import dataclass

from loradex.errors import AdapterChangedError, AdapterRefusedError, AdapterUnavailableError
from loradex.library.adapter_files import read_files
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.adapter_sources import is_remote
from loradex.library.adapter_store import StoredAdapter


@dataclass(frozen=True)
class CheckedAdapter:
    """One version and what is wrong with its files; `fault` is None where nothing is."""

    adapter: StoredAdapter
    fault: str | None


def check_adapter(adapter: StoredAdapter, roots: AdapterRoots) -> CheckedAdapter:
    """Read and hash the files again; a fetched copy that is not what was registered is fetched anew."""
    try:
        directory = roots.locate(adapter.uri, adapter.sha256)
        files = read_files(directory)
        if files.sha256 != adapter.sha256 and is_remote(adapter.uri):
            directory = roots.renewed(adapter.uri)
            files = read_files(directory)
    except (AdapterChangedError, AdapterRefusedError, AdapterUnavailableError) as error:
        return CheckedAdapter(adapter, str(error))
    if files.sha256 == adapter.sha256:
        return CheckedAdapter(adapter, None)
    registered = adapter.card.get("files")
    known = registered if isinstance(registered, dict) else {}
    changed = [name for name, digest in files.digests.items() if known.get(name) != digest]
    return CheckedAdapter(
        adapter, f"{', '.join(str(directory / name) for name in changed)}: not what was registered"
    )
