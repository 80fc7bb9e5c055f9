"""Room on the disks that this machine can see."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from loradex.embedded.postgres import EmbeddedPostgres
from loradex.service.doctor.symptom import State, Symptom
from loradex.service.settings import ServiceSettings

LITTLE_BYTES, LITTLE_SHARE = 1 << 30, 0.1
GROW = (
    "free space, move old months into files with `loradex archive`, or give it a larger disk (docs/operations.md, the "
    "disk of Postgres is full)"
)


def symptoms(settings: ServiceSettings) -> Iterator[Symptom]:
    data = EmbeddedPostgres(settings.home).data if settings.database_url is None else None
    if data is None:
        yield Symptom(
            "disk of Postgres",
            "unknown",
            "is not for this machine to see, and SQL cannot ask",
            f"watch it there: {GROW}",
        )
    else:
        yield _room("disk of Postgres", data)
    if settings.home.exists():
        yield _room("disk of LORADEX_HOME", settings.home)


def _room(check: str, place: Path) -> Symptom:
    usage = shutil.disk_usage(place)
    state: State = "well"
    if usage.free < LITTLE_BYTES:
        state = "ill"
    elif usage.free < LITTLE_SHARE * usage.total:
        state = "look"
    note = f"{usage.free / (1 << 30):.1f} of {usage.total / (1 << 30):.1f} GiB free"
    return Symptom(check, state, note, None if state == "well" else GROW)
