"""The golden bytes of this folder."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "golden"


def golden(name: str) -> bytes:
    """The file ``name`` as it is, byte for byte."""
    return (_FOLDER / name).read_bytes()
