"""The real lines of ../shared/openlibrary as four dumps, and the real pictures of ../shared/covers under their ids.

What should come of them is counted here by plain Python, apart from the code under test.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DUMP_DATE = "2022-04-30"
MIXED = ("messy_mixed_lines.txt", "messy_altered_keys.txt", "messy_ia_key.txt")


@dataclass(frozen=True)
class RealInput:
    """Dumps to serve, pictures to serve, and what must be found in Postgres at the end.

    Attributes:
        dumps: the gzipped dump of each kind.
        pictures: JPEG bytes by cover id; ids named by an edition but absent here answer 404.
        covers_of: the cover id of each edition that the wide filter keeps.
        titles_of: the titles of the same editions.
        broken: lines of the editions dump that are no records.
    """

    dumps: dict[str, bytes]
    pictures: dict[int, bytes]
    covers_of: dict[str, int]
    titles_of: dict[str, str]
    broken: int


def real_input(shared: Path, missing_every: int = 10) -> RealInput:
    """The real input; of the wanted covers every tenth is left out, as they are on the real server."""
    lines = {
        kind: (shared / "openlibrary" / f"ol_dump_{kind}.txt").read_text().splitlines()
        for kind in ("editions", "works", "authors", "redirects")
    }
    # The complete dump has all types in one file: so these lines go into every one of the four.
    mixed = [line for name in MIXED for line in (shared / "openlibrary" / name).read_text().splitlines()]
    dumps = {kind: gzip.compress(("\n".join(own + mixed) + "\n").encode(), mtime=0) for kind, own in lines.items()}
    newest, broken = _newest_editions(lines["editions"] + mixed)
    covers_of = {key: cover for key, record in newest.items() if (cover := _first_cover(record)) and _title(record)}
    files = sorted((shared / "covers").glob("*.jpg"))
    wanted = sorted(set(covers_of.values()))
    pictures = {
        cover_id: files[position % len(files)].read_bytes()
        for position, cover_id in enumerate(wanted)
        if position % missing_every != missing_every - 1
    }
    return RealInput(dumps, pictures, covers_of, {key: _title(newest[key]) for key in covers_of}, broken)


def sha256(content: bytes) -> str:
    """The hexadecimal digest by which the ledger knows a picture."""
    return hashlib.sha256(content).hexdigest()


def _newest_editions(lines: list[str]) -> tuple[dict[str, dict], int]:
    newest: dict[str, tuple[int, dict]] = {}
    broken = 0
    for kind, key, revision, record in _records(lines):
        if record is None:
            broken += 1
        elif kind == "/type/edition":
            name = key.rpartition("/")[2]
            if name not in newest or revision > newest[name][0]:
                newest[name] = (revision, record)
    return {key: record for key, (_, record) in newest.items()}, broken


def _records(lines: list[str]) -> Iterator[tuple[str, str, int, dict | None]]:
    for line in lines:
        fields = line.split("\t")
        if len(fields) != 5:
            yield "", "", 0, None
            continue
        try:
            yield fields[0], fields[1], int(fields[2]), json.loads(fields[4])
        except ValueError:
            yield fields[0], fields[1], 0, None


def _first_cover(record: dict) -> int | None:
    covers = record.get("covers") or []
    return next((int(cover) for cover in covers if isinstance(cover, int) and cover > 0), None)


def _title(record: dict) -> str:
    title = record.get("title") or ""
    prefix = record.get("title_prefix") or ""
    return f"{prefix}{title}".strip() if prefix and not title.startswith(prefix) else title.strip()
