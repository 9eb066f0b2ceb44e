"""A library a month later: some editions changed, some new, some gone, many touched in ways that change no book.

Knows what of it is true for the road: what must be asked for, embedded and written, and no more.
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from book_search.sample.library import COVER_BASES, Answer, Library

PLAIN_KEY = re.compile(r"OL[0-9]+M")
NEW_KEYS = 90_000_000  # above all that a library draws
NEW_COVERS = 14_660_000  # ids are handed out in order: nearly all of a month's are in the newest archive batch
TOUCHED = 0.05  # of all records: a new revision without a change that a book would show, as robots make every day
MOMENT = "2026-11-19T08:30:00.000000"
Record = dict[str, Any]


@dataclass(frozen=True)
class Month:
    """A library, and how it differs from the one before.

    Attributes:
        changed, new, gone: editions that the default filter keeps, by key.
        asked: covers wanted now that were not wanted before.
        dropped: covers wanted before and not now.
        found: those of `asked` that are pictures.
        pictures: of these the different ones that no cover before shows: what must be embedded.
        lost: those of `dropped` that were pictures.
    """

    library: Library
    changed: frozenset[str] = frozenset()
    new: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    asked: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    found: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    pictures: int = 0


def same_month(library: Library, days: int = 30) -> Month:
    """The same records in another order, as a dump of a later date."""
    rng = random.Random(1)
    lines = {kind: tuple(rng.sample(kept, len(kept))) for kind, kept in library.lines.items()}
    return Month(replace(library, lines=lines, dump_date=library.dump_date + timedelta(days)))


def next_month(library: Library, seed: int = 1, changed: float = 0.02, new: float = 0.01, gone: float = 0.005) -> Month:
    """The library 30 days later; shares are of the editions that the default filter keeps."""
    plan = _Plan(library, random.Random(seed))
    count = len(library.kept)
    plan.lose(max(1, round(gone * count)))
    plan.change(max(1, round(changed * count)))
    plan.add(max(1, round(new * count)))
    plan.touch()
    return plan.finished()


class _Plan:
    def __init__(self, library: Library, rng: random.Random) -> None:
        self.before, self.rng = library, rng
        self.kept, self.titles = dict(library.kept), dict(library.titles)
        self.specs, self.answers = dict(library.specs), dict(library.answers)
        self.records: dict[str, Record] = {}  # the newest of each kept edition
        self.others: list[str] = []  # all other lines of editions
        newest: dict[str, str] = {}
        for line in library.lines["editions"]:
            key = _key(line)
            if key not in self.kept:
                self.others.append(line)
            elif key not in newest or _revision(newest[key]) < _revision(line):
                self.others += [newest[key]] if key in newest else []
                newest[key] = line
            else:
                self.others.append(line)
        self.records = {key: json.loads(line.split("\t", 4)[4]) for key, line in newest.items()}
        plain = sorted(key for key in self.kept if PLAIN_KEY.fullmatch(key))
        rng.shuffle(plain)
        self.untouched = plain
        self.changed: set[str] = set()
        self.new: set[str] = set()
        self.gone: set[str] = set()
        self.covers = 0

    def lose(self, count: int) -> None:
        """Editions that were deleted: no line of theirs is in the dump any more."""
        for key in self._take(count):
            self.gone.add(key)
            del self.kept[key], self.titles[key], self.records[key]
        self.others = [line for line in self.others if _key(line) not in self.gone]

    def change(self, count: int) -> None:
        """Editions of which one thing that a book shows was edited; of every eighth the cover."""
        changes: tuple[Callable[[str, Record], None], ...] = (self._title, self._pages, self._publisher)
        for number, key in enumerate(self._take(count)):
            record = self.records[key]
            (self._cover if number % 8 == 7 else changes[number % 3])(key, record)
            _revise(record)
            self.changed.add(key)

    def add(self, count: int) -> None:
        """Editions that were not there, and some that were there without a cover."""
        without = sorted(key for key, reason in self.before.dropped.items() if reason == "no_cover")
        for number, like in enumerate(self._take(count)):
            if number % 4 == 3 and without:
                key = without.pop()
                lines = [line for line in self.others if _key(line) == key]
                newest = max(lines, key=_revision)
                self.others.remove(newest)
                record = json.loads(newest.split("\t", 4)[4])
            else:
                key = f"OL{NEW_KEYS + number}M"
                record = json.loads(json.dumps(self.records[like]))
                record["key"], record["title"] = f"/books/{key}", f"{record['title']}, volume {number + 2}"
            self.records[key], self.kept[key], self.titles[key] = record, 0, record["title"]
            self._cover(key, record)
            _revise(record)
            self.new.add(key)

    def touch(self) -> None:
        """New revisions of records that say the same as before."""
        for key in self._take(round(TOUCHED * len(self.kept))):
            self.records[key].setdefault("source_records", []).append("promise:bwb_daily_pallets_2026-11-19")
            _revise(self.records[key])

    def finished(self) -> Month:
        before, rng = self.before, self.rng
        editions = [_line("edition", record) for record in self.records.values()] + self.others
        lines = {
            # The first revisions are those of records that stand there twice: not the ones that count.
            kind: [_touched(line) if _revision(line) > 1 and rng.random() < TOUCHED else line for line in held]
            for kind, held in before.lines.items()
            if kind in ("works", "authors")
        }
        lines |= {"editions": editions, "redirects": list(before.lines["redirects"])}
        for held in lines.values():
            rng.shuffle(held)
        library = replace(
            before,
            lines={kind: tuple(held) for kind, held in lines.items()},
            kept=self.kept,
            titles=self.titles,
            specs=self.specs,
            answers=self.answers,
            dump_date=before.dump_date + timedelta(30),
        )
        asked = frozenset(self.kept.values()) - frozenset(before.kept.values())
        dropped = frozenset(before.kept.values()) - frozenset(self.kept.values())
        old, now = before.statuses(), library.statuses()
        found = frozenset(cover_id for cover_id in asked if now[cover_id] == "ok")
        shown = {self.specs[cover_id] for cover_id in old if self.answers.get(cover_id, "cover") == "cover"}
        return Month(
            library,
            frozenset(self.changed),
            frozenset(self.new),
            frozenset(self.gone),
            asked,
            dropped,
            found,
            frozenset(cover_id for cover_id in dropped if old[cover_id] == "ok"),
            len({self.specs[cover_id] for cover_id in found} - shown),
        )

    def _take(self, count: int) -> list[str]:
        """So many editions that nothing has happened to yet."""
        taken, self.untouched = self.untouched[:count], self.untouched[count:]
        return taken

    def _title(self, key: str, record: Record) -> None:
        record["title"] = self.titles[key] = f"{record['title']}, revised"

    def _pages(self, key: str, record: Record) -> None:
        record.pop("pagination", None)
        record["number_of_pages"] = 900  # more than any that a library draws

    def _publisher(self, key: str, record: Record) -> None:
        record["publishers"] = ["Second Month Press"]

    def _cover(self, key: str, record: Record) -> None:
        """A cover uploaded this month: of six one shows a picture that is known, of forty one cannot be had."""
        self.covers += 1
        if self.covers % 5 == 0:  # a book that came to be wanted brings an old id
            cover_id = next(
                each for each in iter(lambda: self.rng.choice(COVER_BASES) + self.rng.randrange(10_000), None)
                if each not in self.specs
            )  # fmt: skip
        else:
            cover_id = NEW_COVERS + self.covers
        known = [shown for shown in self.kept.values() if shown and self.answers.get(shown, "cover") == "cover"]
        spec = self.specs[self.rng.choice(known)]
        self.specs[cover_id] = spec if self.covers % 6 == 0 else replace(spec, title=f"New {self.covers}")
        if self.covers % 40 == 39:
            missing: Answer = "missing"
            self.answers[cover_id] = missing
        record["covers"] = [cover_id]
        self.kept[key] = cover_id


def _key(line: str) -> str:
    return line.split("\t", 2)[1].rpartition("/")[2] if line.count("\t") >= 4 else ""


def _revision(line: str) -> int:
    return int(line.split("\t", 3)[2])


def _revise(record: Record) -> None:
    record["revision"] = record["latest_revision"] = record.get("revision", 1) + 1
    record["last_modified"] = {"type": "/type/datetime", "value": MOMENT}


def _touched(line: str) -> str:
    kind, rest = line.removeprefix("/type/").split("\t", 1)
    record = json.loads(rest.split("\t", 3)[3])
    _revise(record)
    return _line(kind, record)


def _line(kind: str, record: Record) -> str:
    return "\t".join((f"/type/{kind}", record["key"], str(record["revision"]), MOMENT, json.dumps(record)))
