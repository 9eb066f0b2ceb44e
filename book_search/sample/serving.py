"""A planned library as content to serve: its dumps as gzip files, its covers drawn when they are first asked for.

Knows where drawings are kept; what is drawn is the library's plan.
"""

import hashlib
import io
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path

from book_search.sample.drawing import CoverSpec, cover_jpeg, draw_cover
from book_search.sample.library import Library, gzipped
from book_search.sample.server import BLANK, Content

MEDIUM = (180, 270)  # pixels: Open Library's M is up to 180 x 360
ERROR_PAGE = b"<!DOCTYPE html>\n<html><head><title>Item not available</title></head><body>Try later.</body></html>\n"
OTHER_ANSWERS: Mapping[str, bytes | int] = {"missing": 404, "html": ERROR_PAGE, "empty": b"", "pixel": BLANK}


def content_of(library: Library, folder: Path, size: tuple[int, int] = MEDIUM) -> Content:
    """What a server needs to play Open Library with this library.

    Args:
        folder: keeps the drawn covers, for the next time; made where it is missing.
        size: width and height of the covers in pixels.
    """
    return Content(
        dump_date=library.dump_date,
        dumps={kind: gzipped(lines) for kind, lines in library.lines.items()},
        covers=DrawnCovers(library, folder, size),
        archived=library.archived,
    )


class DrawnCovers(Mapping[int, bytes | int]):
    """What each cover id answers, drawn when it is first asked for and then kept in a folder; safe for threads."""

    def __init__(self, library: Library, folder: Path, size: tuple[int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._library, self._folder, self._size = library, folder, size
        self._drawing = threading.Lock()

    def __getitem__(self, cover_id: int) -> bytes | int:
        spec, answer = self._library.specs[cover_id], self._library.answers.get(cover_id, "cover")
        if answer == "cover":
            return self._jpeg(spec)
        if answer == "png":
            file = io.BytesIO()
            draw_cover(spec, self._size).save(file, "PNG")
            return file.getvalue()
        if answer == "truncated":
            whole = self._jpeg(spec)
            return whole[: len(whole) * 3 // 5]
        return OTHER_ANSWERS[answer]

    def __iter__(self) -> Iterator[int]:
        return iter(self._library.specs)

    def __len__(self) -> int:
        return len(self._library.specs)

    def _jpeg(self, spec: CoverSpec) -> bytes:
        name = hashlib.sha256(repr((astuple(spec), self._size)).encode()).hexdigest()[:32]
        kept = self._folder / f"{name}.jpg"
        with self._drawing:  # one at a time: drawing is bound to one core anyway, and none is drawn twice
            if not kept.exists():
                partial = self._folder / f".partial-{uuid.uuid4().hex}"
                partial.write_bytes(cover_jpeg(spec, self._size))
                os.replace(partial, kept)
        return kept.read_bytes()
