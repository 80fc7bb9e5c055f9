"""Where a model lies: a directory, or an id of the Hugging Face hub whose files are fetched or were before."""

from pathlib import Path
from typing import Final

from loradex.errors import ModelRefusedError

WANTED: Final = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.jinja"]


def model_directory(place: str) -> Path:
    """The directory of that name, or else the model of that id, from the hub or its cache.

    Raises:
        ModelRefusedError: It is neither.
    """
    directory = Path(place).expanduser()
    if directory.is_dir():
        return directory.resolve()
    if place.count("/") != 1 or place.startswith((".", "/", "~")):
        raise ModelRefusedError(f"{place}: no such directory, and not an id of the hub such as org/model")
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - of the extra `worker`
    except ImportError:
        raise ModelRefusedError(
            f"{place}: no such directory; ids of the hub need pip install 'loradex[worker]'"
        ) from None
    try:
        return Path(snapshot_download(place, allow_patterns=WANTED))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelRefusedError(
            f"{place}: no such directory, and the hub does not give it: {reason}"
        ) from error


def usual_name(place: str) -> str:
    """What a model is called if nobody says: the last part of its directory or id."""
    directory = Path(place).expanduser()
    return (directory.resolve() if directory.is_dir() else directory).name
