"""What nearest_covers finds, and how fast, under filters of known shares; against the exact answer of those who pass.

Knows one server with `filtered_books` in it; nothing of other databases.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pgvector import HalfVector

from book_search.index.connection import Connection
from book_search_tests.benchmarks.clustered import Vectors, nearest
from book_search_tests.benchmarks.filtered_books import FilteredBooks

K = 10
TIES = 2e-3  # cosines of halfvecs are compared with those of float32
FIELDS = ["year_from", "year_to", "pages_from", "pages_to", "publisher", "author", "subject", "tag"]


@dataclass(frozen=True)
class FilterRecall:
    """Of one filter and one kind of query.

    Attributes:
        filter: as SQL's named argument.
        share: of the books that pass.
        kind: of the queries.
        rows: the fewest that came back, of the `wanted` that were there to come.
        recall: recall@10.
        p50, p95: milliseconds at the client.
    """

    filter: str
    share: float
    kind: str
    rows: int
    wanted: int
    recall: float
    p50: float
    p95: float


def filter_recall(
    conn: Connection, model: int, drawn: FilteredBooks, queries: dict[str, Vectors], filters: Sequence[str]
) -> list[FilterRecall]:
    """Every kind of query under every filter, one after the other from one client."""
    found = []
    for wanted in filters:
        passing = np.flatnonzero(drawn.passes[wanted])
        for kind, vectors in queries.items():
            found.append(_measure(conn, model, drawn, wanted, passing, kind, vectors))
    return found


def _measure(
    conn: Connection,
    model: int,
    drawn: FilteredBooks,
    wanted: str,
    passing: np.ndarray,
    kind: str,
    queries: Vectors,
) -> FilterRecall:
    k = min(K, len(passing))
    _, cosines = nearest(drawn.vectors[passing], queries, k)
    statement = f"SELECT cover_id FROM nearest_covers({model}, %s::halfvec, {K}, {_as_row(wanted)})".encode()  # noqa: S608
    seconds, right, fewest = [], 0, K
    for query, tenth in zip(queries, cosines[:, -1], strict=True):
        asked = HalfVector(query)
        started = time.perf_counter()
        rows = conn.execute(statement, [asked], prepare=True, binary=True).fetchall()
        seconds.append(time.perf_counter() - started)
        ids = np.array([row[0] for row in rows], np.int64)
        assert np.isin(ids, passing).all(), f"{wanted} let others through"
        fewest = min(fewest, len(ids))
        right += int((drawn.vectors[ids] @ query >= tenth - TIES * (1 - tenth)).sum())
    p50, p95 = (float(np.percentile(seconds, which)) * 1e3 for which in (50, 95))
    share = len(passing) / len(drawn.vectors)
    return FilterRecall(wanted, share, kind, fewest, k, right / (k * len(queries)), p50, p95)


def _as_row(wanted: str) -> str:
    """Named arguments of the search functions as the composite value that nearest_covers takes."""
    values = dict(argument.split(" => ") for argument in re.split(r", (?=\w+ => )", wanted))
    return "row(" + ", ".join(values.get(field, "NULL") for field in FIELDS) + ")::book_filter"


def table(found: Sequence[FilterRecall]) -> str:
    """As a Markdown table, the kinds of queries side by side."""
    kinds = list(dict.fromkeys(one.kind for one in found))
    lines = [
        "| filter | passes % | " + " | ".join(f"{kind}: rows, recall@10, p50 / p95 ms" for kind in kinds) + " |",
        "|---" * (2 + len(kinds)) + "|",
    ]
    for wanted in dict.fromkeys(one.filter for one in found):
        ones = [one for one in found if one.filter == wanted]
        cells = [f"{one.rows} of {one.wanted}, {one.recall:.3f}, {one.p50:.1f} / {one.p95:.1f}" for one in ones]
        lines.append(f"| `{wanted}` | {100 * ones[0].share:.3g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
