"""The starter library of Loradex: 22 LoRA adapters for SmolLM2-135M-Instruct and their example vectors."""

from importlib.resources import files
from pathlib import Path


def directory() -> Path:
    """Where the library lies: a manifest, example vectors and `adapters/<task>`."""
    return Path(str(files(__name__) / "smollm2-135m-instruct"))
