"""Files that appear whole or not at all: what stood there before stays until the new one is complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have ``write`` make the file: whole, or as it was before. Only a plain file: a pipe is written to."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        write(path)
        return
    unfinished = path.with_name(path.name + ".part")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``write_whole`` of a text, in UTF-8."""
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))
