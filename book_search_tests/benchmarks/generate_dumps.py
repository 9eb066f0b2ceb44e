"""Writes made-up Open Library dumps of any size: editions, works, authors and redirects in their real proportions.

    python -m book_search_tests.benchmarks.generate_dumps FOLDER --size 3G

Lines come in no order of their keys, as in the real dumps; each dump is one gzip member, deflated on all cores.
"""

import argparse
import os
import random
import re
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from book_search_tests.benchmarks.dump_records import AUTHOR, EDITION, MARKS, OTHER_AUTHOR, STAMP, WORK, Writer

DUMP_DATE = "2026-10-31"
TEMPLATES = 20_000  # of a kind; the lines of one stand some 20 MB apart, far beyond the 32 KB that gzip remembers
WORKS_PER_EDITION = 0.767  # 2.3 of 3.0 million in the dumps' own proportions
AUTHORS_PER_EDITION = 0.32
REDIRECTS_PER_EDITION = 0.005
TWICE = 1_000  # one edition in so many stands at two revisions
PIECE = 1 << 20
WINDOW = 1 << 15  # what deflate can refer back to
LEVEL = 6  # gzip's default, with which the real dumps are 4.7 times smaller than their text


@dataclass(frozen=True)
class Dumps:
    """What was written: the files by kind, and each one's bytes of text."""

    paths: dict[str, Path]
    text_bytes: dict[str, int]


def generate_dumps(folder: Path, edition_bytes: int, seed: int = 1) -> Dumps:
    """Write the four dumps, with about `edition_bytes` of editions' text; the same arguments write the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(seed)
    count = min(TEMPLATES, max(200, edition_bytes // 20_000))
    editions = [writer.edition() for _ in range(count)]
    size = sum(map(len, editions)) / count
    rows = max(1, int(edition_bytes / size))
    works, authors = int(rows * WORKS_PER_EDITION) + 1, int(rows * AUTHORS_PER_EDITION) + 1
    lines = {
        "editions": _lines(editions, rows, works, authors, seed, twice=TWICE),
        "works": _lines([writer.work() for _ in range(count)], works, works, authors, seed),
        "authors": _lines([writer.author() for _ in range(count)], authors, works, authors, seed),
        "redirects": _redirects(int(rows * REDIRECTS_PER_EDITION), works, authors, seed),
    }
    paths = {kind: folder / f"ol_dump_{kind}_{DUMP_DATE}.txt.gz" for kind in lines}
    return Dumps(paths, {kind: write_gzip(paths[kind], blocks) for kind, blocks in lines.items()})


def write_gzip(path: Path, pieces: Iterator[bytes]) -> int:
    """One gzip member, its pieces deflated side by side, each with the end of the one before as its dictionary.

    Returns the bytes of the text. The format is RFC 1952's; pieces end at a byte's border by an empty stored block.
    """
    cores = os.cpu_count() or 1
    crc, size, before = 0, 0, b""
    under_way: deque[Future[bytes]] = deque()
    with path.open("wb") as file, ThreadPoolExecutor(cores) as pool:
        file.write(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")
        for piece in pieces:
            crc, size = zlib.crc32(piece, crc), size + len(piece)
            under_way.append(pool.submit(_deflate, piece, before))
            before = piece[-WINDOW:]
            if len(under_way) > 2 * cores:
                file.write(under_way.popleft().result())
        for deflated in under_way:
            file.write(deflated.result())
        file.write(b"\x03\x00" + struct.pack("<II", crc, size & 0xFFFFFFFF))  # an empty last block, then the trailer
    return size


def _deflate(piece: bytes, before: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -15, zdict=before) if before else zlib.compressobj(LEVEL, wbits=-15)
    return packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)


def _lines(
    templates: list[str], rows: int, works: int, authors: int, seed: int, twice: int | None = None
) -> Iterator[bytes]:
    """The lines of one dump, in pieces of about PIECE bytes."""
    marks = re.compile("(" + "|".join(map(re.escape, MARKS)) + ")")
    parts = [marks.split(template) for template in templates]
    draw = random.Random(seed).random
    step = _step_through(rows)
    held: list[str] = []
    size = 0
    for number in range(rows):
        own = number * step % rows  # every number once, in no order
        values = {
            EDITION: f"OL{own + 1}M",
            WORK: f"OL{own % works + 1}W",
            AUTHOR: f"OL{own % authors + 1}A",
            OTHER_AUTHOR: f"OL{int(draw() * authors) + 1}A",
            STAMP: f"20{own % 17 + 10}-{own % 12 + 1:02d}-{own % 28 + 1:02d}T{own % 24:02d}:11:53.{own % 10**6:06d}",
        }
        pieces = parts[int(draw() * len(parts))].copy()
        for place in range(1, len(pieces), 2):
            pieces[place] = values[pieces[place]]
        line = "".join(pieces)
        held.append(line)
        if twice and own % twice == 0:
            held.append(line)
        size += len(line)
        if size >= PIECE:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode()


def _redirects(rows: int, works: int, authors: int, seed: int) -> Iterator[bytes]:
    draw = random.Random(seed).randrange
    lines = []
    for number in range(rows):
        kind, letter, count = ("authors", "A", authors) if number % 3 == 0 else ("works", "W", works)
        old, new = f"/{kind}/OL{draw(count) + 1}{letter}", f"/{kind}/OL{draw(count) + 1}{letter}"
        record = f'{{"key": "{old}", "type": {{"key": "/type/redirect"}}, "location": "{new}", "revision": 2}}'
        lines.append(f"/type/redirect\t{old}\t2\t2020-01-01T00:00:00.000000\t{record}\n")
    yield "".join(lines).encode()


def _step_through(rows: int) -> int:
    """A step that visits every number below `rows` once: one without a common divisor."""
    step = int(rows * 0.6180339887) | 1  # the golden ratio spreads neighbours wide
    while rows > 1 and _divisor(step, rows) != 1:
        step += 2
    return step


def _divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


def bytes_of(size: str) -> int:
    """A size as people write it: 300M, 3G."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)B?", size.upper())
    if not found:
        raise argparse.ArgumentTypeError(f"{size!r} is no size; write 300M or 3G")
    return int(float(found[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[found[2]])


def main() -> None:
    """Generate from the command line."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--size", type=bytes_of, default=bytes_of("3G"), help="of the editions' text")
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    dumps = generate_dumps(asked.folder, asked.size, asked.seed)
    for kind, path in dumps.paths.items():
        print(f"{kind:10} {dumps.text_bytes[kind] / 1e6:10.1f} MB of text, {path.stat().st_size / 1e6:8.1f} MB: {path}")


if __name__ == "__main__":
    main()
