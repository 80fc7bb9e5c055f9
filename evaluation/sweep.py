"""Which options to try: one at a time, the others at the database's defaults."""

from loradex.evaluation.plan import Options

VALUES: dict[str, tuple[float, ...]] = {
    "k": (4, 16, 32, 64, 128),
    "top_p": (0.3, 0.6, 0.9, 1.0),
    "temperature": (0.02, 0.05, 0.1, 0.3, 1.0),
}
DENSITIES = (0.1, 0.25, 0.5, 0.75, 1.0)


def sweep(*, density: bool) -> list[Options]:
    """Every value of each option; `density` only matters to merges that trim."""
    values = VALUES | ({"density": DENSITIES} if density else {})
    return [
        Options(**{name: int(value) if name == "k" else value})  # type: ignore[arg-type]
        for name, some in values.items()
        for value in some
    ]
