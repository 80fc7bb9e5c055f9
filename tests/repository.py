"""The checkout the tests run in, for what is no package data: documents, deployment files, the Makefile."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
