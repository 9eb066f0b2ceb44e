"""Plans a small library from a seed: its works, editions, authors and covers, and what should come of each.

Knows why each record was made, and so the truth that the road is measured by, without a rule of the road itself.
"""

import gzip
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from book_search.sample.drawing import CoverSpec, random_spec
from book_search.sample.records import (
    Record,
    broken_lines,
    covers_of,
    date_of,
    foreign_lines,
    isbns,
    languages_of,
    line,
    older_revision,
    pages_of,
    publishing,
    text_of,
    with_history,
    work_author,
)
from book_search.sample.showcase import SHOWCASE, is_showcase
from book_search.sample.spoils import NEWEST_OLD_YEAR, SPOILS
from book_search.sample.stories import FICTION, Story, tell
from book_search.sample.vocabulary import FAMILY_NAMES, GIVEN_NAMES

DUMP_DATE = date(2026, 10, 31)
COVER_BASES = (9_910_000, 9_930_000, 12_340_000, 12_350_000, 14_600_000, 14_620_000, 14_650_000)  # archive batches

# What a cover id answers. All but `cover` and `png` are failures; COVER_STATUS says how the ledger should call each.
Answer = Literal["cover", "png", "missing", "html", "empty", "pixel", "truncated"]
COVER_STATUS: Mapping[Answer, str] = {
    "cover": "ok",
    "png": "ok",
    "missing": "missing",
    "html": "not_an_image",
    "empty": "not_an_image",
    "pixel": "placeholder",
    "truncated": "undecodable",
}


@dataclass(frozen=True)
class Library:
    """A planned library: what it publishes, and what is true of it.

    Attributes:
        lines: the dumps' lines by kind (editions, works, authors, redirects), in no order, as they are published.
        kept: the cover id of each edition that the default filter should keep, by edition key (OL123M).
        dropped: why each of the others was made, by edition key.
        titles: the titles of the kept editions, as they should read in the end.
        broken: lines among the editions that are no records.
        specs: what the cover of each id shows. Ids with equal specs answer with the same bytes.
        answers: what each id answers, where it is not a plain cover.
        archived: ids that redirect to the archive.
    """

    dump_date: date
    lines: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, int]
    dropped: Mapping[str, str]
    titles: Mapping[str, str]
    broken: int
    specs: Mapping[int, CoverSpec]
    answers: Mapping[int, Answer]
    archived: frozenset[int]

    def statuses(self) -> dict[int, str]:
        """How the ledger should end for the covers of the kept editions."""
        return {cover_id: COVER_STATUS[self.answers.get(cover_id, "cover")] for cover_id in self.kept.values()}


def plan_library(seed: int = 0, kept: int = 400, dropped: int = 2000, dump_date: date = DUMP_DATE) -> Library:
    """The library of a seed; the same for the same arguments.

    Args:
        kept: editions that the default filter keeps (the last work may bring one or two more).
        dropped: editions that it drops, shared evenly among the reasons of SPOILS.
        dump_date: of the dumps; the years of what is kept go by it.

    Raises:
        ValueError: `dump_date` is so early that what is made to be too old would not be.
    """
    if dump_date.year - 11 <= NEWEST_OLD_YEAR:
        raise ValueError(f"a dump of {dump_date.year} is too early for this library; take one from 2022 on")
    plan = _Plan(random.Random(seed), dump_date)
    for spec in SHOWCASE:
        plan.add_work(spec)
    while len(plan.kept) < kept:
        plan.add_work()
    plan.add_oddities()
    for number in range(dropped):
        plan.add_dropped(list(SPOILS)[number % len(SPOILS)])
    plan.add_noise()
    return plan.finished()


def gzipped(lines: tuple[str, ...]) -> bytes:
    """A dump of these lines, as one gzip member; the same bytes for the same lines."""
    return gzip.compress("".join(f"{each}\n" for each in lines).encode(), mtime=0)


class _Plan:
    """A library in the making."""

    def __init__(self, rng: random.Random, dump_date: date) -> None:
        self.rng, self.dump_date = rng, dump_date
        self.lines: dict[str, list[str]] = {kind: [] for kind in ("editions", "works", "authors", "redirects")}
        self.kept: dict[str, int] = {}
        self.dropped: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        self.broken = 0
        self.specs: dict[int, CoverSpec] = {}
        self.keys = {"M": 28_000_000, "W": 19_000_000, "A": 7_000_000}
        self.authors = [self.add_author() for _ in range(120)]

    def finished(self) -> Library:
        rng = self.rng
        for lines in self.lines.values():
            rng.shuffle(lines)
        ids = sorted(set(self.kept.values()))
        specs = list(self.specs.values())
        # What the demo asks for is not among the covers that cannot be had.
        plain = [cover_id for cover_id in ids if not is_showcase(self.specs[cover_id])]
        alone = [cover_id for cover_id in plain if specs.count(self.specs[cover_id]) == 1]
        missing = len(ids) // 40
        odd: list[Answer] = ["html", "empty", "pixel", "truncated", "png", "png", "png"]
        chosen = rng.sample(alone, min(len(odd) + missing, len(alone)))
        answers: dict[int, Answer] = dict.fromkeys(chosen, "missing")
        answers.update(zip(chosen, odd, strict=False))
        return Library(
            dump_date=self.dump_date,
            lines={kind: tuple(lines) for kind, lines in self.lines.items()},
            kept=self.kept,
            dropped=self.dropped,
            titles=self.titles,
            broken=self.broken,
            specs=self.specs,
            answers=answers,
            archived=frozenset(rng.sample(ids, len(ids) // 3)),
        )

    def add_work(self, shown_on_it: CoverSpec | None = None) -> None:
        """A work of fiction with one to three editions that are kept; what its cover shows is given, or drawn."""
        rng = self.rng
        authors = rng.sample(self.authors, rng.choices((1, 2), weights=(9, 1))[0])
        spec = shown_on_it or random_spec(rng)
        story = tell(spec.object, rng)
        spec = replace(spec, title=story.title, author=authors[0][1])
        where = rng.choice(("work", "work", "edition", "both"))  # subjects live mostly on the work
        fiction = (rng.choice(FICTION), *story.subjects)
        work_key = self.add_work_record(story, authors, fiction if where != "edition" else story.subjects)
        for number in range(rng.choices((1, 2, 3), weights=(12, 2, 2))[0]):
            if number == 0:
                cover_id = first = self.new_cover(spec)
            else:  # further editions: the same id, another id of the same picture, or another picture
                other = replace(spec, seed=spec.seed + number, lettering=(spec.lettering + 1) % 5)
                shown = rng.choices((None, spec, other), weights=(2, 6, 2))[0]
                cover_id = first if shown is None else self.new_cover(shown)
            record = self.edition(story, work_key, authors, cover_id)
            if where != "work":
                record["subjects"] = list(fiction)
            self.keep(record, cover_id, story.title)

    def add_oddities(self) -> None:
        """Kept editions of shapes that are rare: a title with NUL, half a character, an `ia:` key, merged keys."""
        rng = self.rng
        for given, seen in (
            ("The Cat\u0000 of Harbour Street", "The Cat of Harbour Street"),
            ('"Moon" \\ Tide\tTable\u00e9', '"Moon" \\ Tide\tTable\u00e9'),
            ("A Key \ud83d", "A Key \ufffd"),
        ):
            record, cover_id = self.fiction_on_its_own()
            record["title"] = given
            self.keep(record, cover_id, seen)
        record, cover_id = self.fiction_on_its_own()
        record["key"] = "/books/ia:sampleharbourlights00penr"
        record["author_names"] = [name for _, name in rng.sample(self.authors, 1)]
        del record["authors"]
        self.keep(record, cover_id, record["title"])
        for hops in (1, 1, 2, 2):  # the work that the edition names was merged into the one that says it is fiction
            spec = random_spec(rng)
            story = tell(spec.object, rng)
            author = rng.choice(self.authors)
            new = self.add_work_record(story, [author], (*story.subjects, "Fiction"))
            cover_id = self.new_cover(replace(spec, title=story.title, author=author[1]))
            record = self.edition(story, self.redirected("works", "W", new, hops), [author], cover_id)
            record["authors"] = [{"key": f"/authors/{self.redirected('authors', 'A', author[0], hops)}"}]
            self.keep(record, cover_id, story.title)
        record, cover_id = self.fiction_on_its_own()  # a work that is in no dump
        record["works"] = [{"key": f"/works/{self.key('W')}"}]
        self.keep(record, cover_id, record["title"])

    def add_dropped(self, reason: str) -> None:
        """An edition that would be kept, but for one thing."""
        record, cover_id = self.fiction_on_its_own()
        author = self.rng.choice(self.authors)
        SPOILS[reason](record, self.rng, lambda story, subjects: self.add_work_record(story, [author], subjects))
        self.dropped[record["key"].rpartition("/")[2]] = reason
        whole = with_history("edition", record, self.rng)
        self.publish("editions", line("edition", whole))
        if reason in ("no_cover", "few_pages") and self.rng.random() < 0.1:
            before = {"covers": [cover_id], "number_of_pages": 320, "pagination": "320 p."}
            self.publish("editions", line("edition", older_revision(whole, before, self.rng)))

    def add_noise(self) -> None:
        """Lines that no edition comes of."""
        broken = broken_lines(self.rng)
        self.broken = len(broken)
        self.lines["editions"] += broken + foreign_lines(self.rng)
        for _ in range(10):
            self.redirected("books", "M", self.key("M"), 1)
        for kind, letter in (("works", "W"), ("authors", "A")):  # two keys that lead to each other
            one, other = self.key(letter), self.key(letter)
            self.redirect(kind, one, other)
            self.redirect(kind, other, one)

    def fiction_on_its_own(self) -> tuple[Record, int]:
        """An edition of a new work that says itself that it is fiction, and its cover id."""
        rng = self.rng
        author, spec = rng.choice(self.authors), random_spec(rng)
        story = tell(spec.object, rng)
        cover_id = self.new_cover(replace(spec, title=story.title, author=author[1]))
        record = self.edition(story, self.add_work_record(story, [author], story.subjects), [author], cover_id)
        record["authors"] = [{"key": f"/authors/{author[0]}"}]
        record["subjects"] = [rng.choice(FICTION)]
        return record, cover_id

    def edition(self, story: Story, work_key: str, authors: list[tuple[str, str]], cover_id: int) -> Record:
        """An edition that the filter keeps, if its subjects or its work's say that it is fiction."""
        rng = self.rng
        record: Record = {
            "key": f"/books/{self.key('M')}",
            "title": story.title,
            "works": [{"key": f"/works/{work_key}"}],
            "languages": languages_of("eng", rng),
            "covers": covers_of(cover_id, rng),
            "publish_date": date_of(rng.randint(self.dump_date.year - 9, self.dump_date.year), rng),
            **pages_of(rng.randint(101, 640), rng),
            **isbns(rng),
            **publishing(rng),
        }
        if story.subtitle:
            record["subtitle"] = story.subtitle
        if rng.random() < 0.6:
            record["authors"] = [{"key": f"/authors/{key}"} for key, _ in authors]
        if rng.random() < 0.2:
            record["description"] = text_of(story.description, rng)
        return record

    def keep(self, record: Record, cover_id: int, title: str) -> None:
        """Publish an edition that is kept; now and then with an older revision that would not be."""
        key = record["key"].rpartition("/")[2]
        self.kept[key], self.titles[key] = cover_id, title
        whole = with_history("edition", record, self.rng)
        self.publish("editions", line("edition", whole))
        if self.rng.random() < 0.05:
            past = {"covers": [], "title": f"{title} (uncorrected)", "number_of_pages": 10}
            self.publish("editions", line("edition", older_revision(whole, past, self.rng)))

    def add_author(self) -> tuple[str, str]:
        """A new author's key and name."""
        key, name = self.key("A"), f"{self.rng.choice(GIVEN_NAMES)} {self.rng.choice(FAMILY_NAMES)}"
        record = {"key": f"/authors/{key}", "name": name, "personal_name": name}
        self.publish("authors", line("author", with_history("author", record, self.rng)))
        return key, name

    def add_work_record(self, story: Story, authors: list[tuple[str, str]], subjects: tuple[str, ...]) -> str:
        """A new work's key."""
        key, rng = self.key("W"), self.rng
        record: Record = {"key": f"/works/{key}", "title": story.title}
        record["authors"] = [work_author(author, rng) for author, _ in authors]
        if subjects:
            record["subjects"] = list(subjects)
        if rng.random() < 0.8:
            record["description"] = text_of(story.description, rng)
        whole = with_history("work", record, rng)
        self.publish("works", line("work", whole))
        if rng.random() < 0.05:
            past = {"subjects": ["Juvenile fiction"], "title": "untitled"}
            self.publish("works", line("work", older_revision(whole, past, rng)))
        return key

    def redirected(self, kind: str, letter: str, target: str, hops: int) -> str:
        """A key that leads to `target` in so many steps."""
        for _ in range(hops):
            old = self.key(letter)
            self.redirect(kind, old, target)
            target = old
        return target

    def redirect(self, kind: str, old: str, new: str) -> None:
        record = {"key": f"/{kind}/{old}", "location": f"/{kind}/{new}"}
        self.publish("redirects", line("redirect", with_history("redirect", record, self.rng)))

    def publish(self, kind: str, dump_line: str) -> None:
        self.lines[kind].append(dump_line)

    def key(self, letter: str) -> str:
        """A key that nothing has yet."""
        self.keys[letter] += self.rng.randint(1, 40)
        return f"OL{self.keys[letter]}{letter}"

    def new_cover(self, spec: CoverSpec) -> int:
        """A cover id that nothing has yet."""
        while (cover_id := self.rng.choice(COVER_BASES) + self.rng.randrange(10_000)) in self.specs:
            pass
        self.specs[cover_id] = spec
        return cover_id
