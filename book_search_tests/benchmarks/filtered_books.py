"""Books for clustered vectors such that every filter passes a known share of them; knows shares and SQL's filters.

A book's year, pages, publisher, authors, subjects and tags are drawn independently of its cover, and one tag is not:
`side:near` and `side:far` go by the cover's own direction, since what people filter by often shows on covers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from book_search.index.build import build_index
from book_search.index.connection import Connection
from book_search.index.load import load_books, load_range
from book_search.index.models import register_model
from book_search.schemas import BOOKS, LEDGER, TAGS
from book_search_tests.benchmarks.clustered import Vectors
from book_search_tests.index.library import digest, embedding_table

SHARES = {"half": 0.5, "twentieth": 0.05, "rare": 0.005, "hardly": 0.0005}  # a word of a name, and how many have it
STEPS = 2_000  # years and pages are drawn from so many: one of them is the smallest share
WORDS = 4_000  # of titles, the first of them common and the last rare (Zipf's law)


@dataclass(frozen=True)
class FilteredBooks:
    """Books OL{i}M with cover i and vector i, and who passes which filter.

    Attributes:
        vectors: float32 [rows, dim].
        passes: for a filter as SQL's named argument, such as `pages_to => 99`, which rows pass: bool [rows].
        tables: books, covers and tags, as the lake holds them.
    """

    vectors: Vectors
    passes: dict[str, np.ndarray]
    tables: dict[str, pa.Table]


def draw_books(vectors: Vectors, seed: int = 0) -> FilteredBooks:
    """The same books for the same vectors and seed."""
    rng = np.random.default_rng([seed, 1])
    rows = len(vectors)
    year, pages = rng.integers(STEPS, size=rows), rng.integers(STEPS, size=rows)
    has = {kind: {word: rng.random(rows) < share for word, share in SHARES.items()} for kind in KINDS}
    towards = vectors @ rng.normal(size=vectors.shape[1]).astype(np.float32)
    tags = {("share", word): has["tag"][word] for word in SHARES}
    for name, away in (("near", towards), ("far", -towards)):
        tags["side", f"{name} twentieth"] = away >= np.quantile(away, 0.95)
        tags["side", f"{name} half"] = away >= np.quantile(away, 0.5)
    passes = {"year_from => NULL": np.ones(rows, bool)}
    for word, share in SHARES.items():
        top = round(share * STEPS)
        passes |= {f"year_to => {top - 1}": year < top, f"pages_to => {top - 1}": pages < top}
        passes |= {f"{kind} => '{word} {kind}'": has[kind][word] for kind in ("publisher", "author", "subject")}
    passes |= {f"tag => '{{{facet}:{tag}}}'": which for (facet, tag), which in tags.items()}
    return FilteredBooks(vectors, passes, _tables(year, pages, has, tags, _titles(rng, rows)))


def load_filtered(
    conn: Connection, drawn: FilteredBooks, identity: tuple[str, str, str] = ("drawn", "main", "1")
) -> int:
    """Load and index the books for a new model of this id, revision and preprocessing; returns its number."""
    rows, dim = drawn.vectors.shape
    model = register_model(conn, *identity, dim, "{}")
    load_books(conn, drawn.tables["books"])
    keys = drawn.tables["covers"]
    table = embedding_table(keys["cover_id"].to_pylist(), keys["sha256"].to_pylist(), drawn.vectors.astype(np.float16))
    load_range(conn, model, (0, rows), drawn.tables["covers"], table, drawn.tables["tags"])
    build_index(conn, model)
    return model


KINDS = ("publisher", "author", "subject", "tag")


def _names(has: dict[str, np.ndarray], kind: str, row: int) -> list[str]:
    return [f"{word} {kind}" for word in SHARES if has[word][row]]


def _titles(rng: np.random.Generator, rows: int) -> list[str]:
    shares = 1 / np.arange(2, WORDS + 2)
    drawn = rng.choice(WORDS, size=(rows, 5), p=shares / shares.sum())
    return [" ".join(f"w{number}" for number in numbers) for numbers in drawn.tolist()]


def _tables(
    year: np.ndarray,
    pages: np.ndarray,
    has: dict[str, dict[str, np.ndarray]],
    tags: dict[tuple[str, str], np.ndarray],
    titles: list[str],
) -> dict[str, pa.Table]:
    rows = range(len(year))
    hashes = [digest(i) for i in rows]
    books: dict[str, Any] = {
        "edition_key": [f"OL{i}M" for i in rows],
        "work_key": [f"OL{i // 2}W" for i in rows],
        "title": titles,
        "authors": [["Some Body", *_names(has["author"], "author", i)] for i in rows],
        "publish_year": year,
        "pages": pages,
        "publisher": [" & ".join(["Some Press", *_names(has["publisher"], "publisher", i)]) for i in rows],
        "subjects": [["Fiction", *_names(has["subject"], "subject", i)] for i in rows],
        "languages": [["eng"]] * len(year),
        "cover_id": list(rows),
        "content_hash": hashes,
    }
    covers = {
        "cover_id": list(rows),
        "status": ["ok"] * len(year),
        "sha256": hashes,
        "source_url": [f"http://127.0.0.1/b/id/{i}-L.jpg" for i in rows],
    }
    tagged = [(i, facet, tag) for (facet, tag), which in tags.items() for i in np.flatnonzero(which).tolist()]
    ids, facets, values = (list(column) for column in zip(*sorted(tagged), strict=True))
    said = {"cover_id": ids, "facet": facets, "tag": values, "probability": [0.5] * len(ids)}
    said["template"] = ["a {} cover"] * len(ids)
    columns: tuple[tuple[str, dict[str, Any], pa.Schema], ...] = (
        ("books", books, BOOKS),
        ("covers", covers, LEDGER),
        ("tags", said, TAGS),
    )
    return {name: _table(values, schema) for name, values, schema in columns}


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    size = len(columns["cover_id"])
    empty: Callable[[], list[None]] = lambda: [None] * size  # noqa: E731
    return pa.table({field.name: columns.get(field.name, empty()) for field in schema}, schema=schema)
