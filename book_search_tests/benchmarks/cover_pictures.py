"""Pictures to serve in a benchmark: drawn covers in Open Library's L size, with the grain that real scans have.

Knows files and bytes; nothing of how they are served or fetched.
"""

import io
import os
import random
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from book_search.sample.drawing import draw_cover, random_spec

SIZE = (333, 500)  # pixels: Open Library's L is up to 500 x 500, most books are about 2:3
GRAIN = (2.0, 11.0)  # of 255; with it the drawings take 20 to 60 KB, as most real L covers do
QUALITY = 87
COMMENT = b"\xff\xfe"  # JPEG's COM marker (ITU-T T.81, B.2.4.5); its length counts itself


def drawn_pictures(folder: Path, count: int) -> list[Path]:
    """`count` different JPEG files in a folder, drawn where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_bytes(drawn_picture(number))
            os.replace(partial, path)
    return paths


def drawn_picture(number: int) -> bytes:
    """One drawing with grain, as JPEG: the same bytes for the same number."""
    rng, grain = random.Random(number), np.random.default_rng(number)
    pixels = np.asarray(draw_cover(random_spec(rng), SIZE), np.float32)
    pixels += grain.normal(0, rng.uniform(*GRAIN), pixels.shape[:2])[..., None]
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def picture_of(pictures: Sequence[bytes], cover_id: int) -> bytes:
    """The picture of a cover: one of a few, with its id in a comment, so that no two covers are the same bytes.

    Otherwise a fetcher that keeps equal pictures once would have less to write than the others.
    """
    picture = pictures[cover_id % len(pictures)]
    # After the first segment: what comes first tells some readers that it is a JPEG file at all.
    first_end = 4 + int.from_bytes(picture[4:6], "big")
    words = b"cover %d" % cover_id
    return b"".join((picture[:first_end], COMMENT, (len(words) + 2).to_bytes(2, "big"), words, picture[first_end:]))


def write_zip(path: Path, pictures: Sequence[bytes], cover_ids: Iterable[int]) -> None:
    """A batch's zip as the Internet Archive holds it: members `0014600000-L.jpg`, uncompressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for cover_id in cover_ids:
            archive.writestr(f"{cover_id:010d}-L.jpg", picture_of(pictures, cover_id))
    os.replace(partial, path)
