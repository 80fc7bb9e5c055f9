"""Loads the fixtures; each `fix_*.py` is one subject."""

pytest_plugins = [
    "tests.fix_adapters",
    "tests.fix_library",
    "tests.fix_models",
    "tests.fix_valkey",
]
