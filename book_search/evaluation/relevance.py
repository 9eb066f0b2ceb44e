"""Measures the search as it stands in the database: is what it should find found?

Knows the database's functions and tables, and what a right answer is; nothing of how the answers are shown.
"""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import HalfVector
from psycopg import sql

from book_search.clip.templates import text_vectors
from book_search.evaluation.measure import Measure, measure
from book_search.evaluation.report import RelevanceReport
from book_search.index.connection import Connection
from book_search.index.models import EmbeddingModel, active_model
from book_search.search.engine import NothingToSearchError, checked_clip

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip

K = 10
SAMPLES = 200
TIE = 1e-6  # cosines closer than this are equal: byte-identical covers have one vector
TEXTS_AT_ONCE = 256
BY_TITLE = """
SELECT coalesce(work_key, edition_key)
FROM search_books(query => %(query)s::halfvec, words => %(words)s, k => %(k)s)
"""


def relevance_report(
    conn: Connection,
    clip: "Clip | None" = None,
    captions: Mapping[int, str] | None = None,
    samples: int = SAMPLES,
) -> RelevanceReport:
    """Measure the search on samples that are the same each time.

    - `index_recall_at_10`: of the ten covers truly nearest to a stored vector, those that the index gives.
    - `self_retrieval_at_1`: a cover's own vector finds that cover, or one of the same picture, first.
    - `known_title_at_10`, `known_title_mrr`: the words of a book's title find its work; with a model, its cover's
      side of the hybrid search takes part.
    - `known_caption_at_1`, `known_caption_at_10`, `known_caption_mrr`: what is to be seen on a cover finds it, for
      covers whose caption is known, by the picture alone.

    Args:
        conn: from `index.connection.connect`.
        clip: the model, for measures that start from words; without it they leave the vector out.
        captions: cover ids with what is to be seen on them.
        samples: trials of each measure at most.

    Raises:
        NothingToSearchError: no model is active, or it has no embeddings.
        ModelMismatchError: `clip` did not make the database's vectors.
        ValueError: captions without a model, or `samples` below 1.
    """
    if samples < 1:
        raise ValueError(f"samples is the number of trials, 1 or more, not {samples}")
    if captions and clip is None:
        raise ValueError("captions can only be searched for with a model")
    started = time.monotonic()
    model = active_model(conn)
    if model is None:
        raise NothingToSearchError("there is nothing to measure yet: no index is built. Materialize search_index")
    if clip is not None:
        clip = checked_clip(conn, clip)
    drawn = _draw_vectors(conn, model, samples)
    if not drawn:
        raise NothingToSearchError(f"there is nothing to measure yet: {model.table_name} is empty")
    measures = [*_measure_index(conn, model, drawn), *_measure_titles(conn, clip, samples)]
    if captions and clip is not None:
        measures += _measure_captions(conn, model, clip, captions, samples)
    return RelevanceReport(
        model=f"{model.model_id} at {model.revision[:12]}",
        covers=_count(conn, sql.SQL("SELECT count(*) FROM {}").format(model.table)),
        books=_count(conn, sql.SQL("SELECT count(*) FROM book")),
        measures=tuple(measures),
        seconds=time.monotonic() - started,
    )


def _measure_index(conn: Connection, model: EmbeddingModel, drawn: list[tuple[int, HalfVector]]) -> list[Measure]:
    """The index against a scan of every embedding (`+ 0` keeps the graph out of it)."""
    nearest = "SELECT cover_id, cosine FROM nearest_covers(%(model)s, %(query)s::halfvec, %(k)s)"
    scan = sql.SQL(
        "SELECT cover_id, 1 - (embedding <=> %(query)s::halfvec) FROM {} "
        "ORDER BY (embedding <=> %(query)s::halfvec) + 0, cover_id LIMIT %(k)s"
    ).format(model.table)
    recalls, itself = [], []
    for cover_id, vector in drawn:
        asked = {"model": model.model, "query": vector, "k": K}
        found, exact = conn.execute(nearest, asked).fetchall(), conn.execute(scan, asked).fetchall()
        farthest = exact[-1][1] - TIE
        recalls += [1.0] * (near := min(len(exact), sum(cosine >= farthest for _, cosine in found)))
        recalls += [0.0] * (len(exact) - near)
        first = found[0] if found else (None, -1.0)
        own = next((cosine for other, cosine in exact if other == cover_id), exact[0][1])
        itself.append(float(first[0] == cover_id or first[1] >= own - TIE))
    return [
        measure("index_recall_at_10", recalls, f"of the {K} covers nearest to a cover's vector, the index gives these"),
        measure("self_retrieval_at_1", itself, "a cover's own vector finds that cover, or its double, first"),
    ]


def _measure_titles(conn: Connection, clip: "Clip | None", samples: int) -> list[Measure]:
    """Known-item search by the words of a title, without punctuation, which a web search takes for operators."""
    rows = conn.execute(
        "SELECT coalesce(work_key, edition_key), title FROM book ORDER BY hashtextextended(edition_key, 0) LIMIT %s",
        [samples],
    ).fetchall()
    known = [(work, words) for work, title in rows if (words := " ".join(re.findall(r"\w+", title)))]
    if not known:
        return []
    vectors = None if clip is None else _text_vectors(clip, [words for _, words in known])
    ranks = []
    for position, (work, words) in enumerate(known):
        query = None if vectors is None else HalfVector(vectors[position])
        found = conn.execute(BY_TITLE, {"query": query, "words": words, "k": K}).fetchall()
        ranks.append(next((rank for rank, row in enumerate(found, 1) if row[0] == work), None))
    by = "words alone" if clip is None else "words and covers"
    return [
        measure(
            "known_title_at_10",
            [float(rank is not None) for rank in ranks],
            f"a title finds its work among {K}, by {by}",
        ),
        measure("known_title_mrr", _reciprocal(ranks), f"the mean of 1 / rank of that work, by {by}"),
    ]


def _measure_captions(
    conn: Connection, model: EmbeddingModel, clip: "Clip", captions: Mapping[int, str], samples: int
) -> list[Measure]:
    """Known-item search from a caption to its cover, by the picture alone."""
    statement = sql.SQL(
        "SELECT cover_id FROM {} WHERE cover_id = ANY (%s) ORDER BY hashint8(cover_id), cover_id LIMIT %s"
    )
    rows = conn.execute(statement.format(model.table), [list(captions), samples]).fetchall()
    cover_ids = [row[0] for row in rows]
    if not cover_ids:
        return []
    vectors = _text_vectors(clip, [captions[cover_id] for cover_id in cover_ids])
    nearest = "SELECT cover_id FROM nearest_covers(%s, %s::halfvec, %s)"
    ranks = []
    for cover_id, vector in zip(cover_ids, vectors, strict=True):
        found = conn.execute(nearest, [model.model, HalfVector(vector), K]).fetchall()
        ranks.append(next((rank for rank, row in enumerate(found, 1) if row[0] == cover_id), None))
    return [
        measure(
            "known_caption_at_1", [float(rank == 1) for rank in ranks], "what a cover shows finds that cover first"
        ),
        measure("known_caption_at_10", [float(rank is not None) for rank in ranks], f"and among the first {K}"),
        measure("known_caption_mrr", _reciprocal(ranks), "the mean of 1 / rank of that cover"),
    ]


def _draw_vectors(conn: Connection, model: EmbeddingModel, samples: int) -> list[tuple[int, HalfVector]]:
    statement = sql.SQL("SELECT cover_id, embedding FROM {} ORDER BY hashint8(cover_id), cover_id LIMIT %s")
    rows: list[tuple[int, HalfVector]] = (
        conn.cursor(binary=True).execute(statement.format(model.table), [samples]).fetchall()
    )
    return rows


def _text_vectors(clip: "Clip", texts: list[str]) -> np.ndarray:
    parts = [text_vectors(clip, texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)]
    return np.concatenate(parts)


def _reciprocal(ranks: list[int | None]) -> list[float]:
    return [0.0 if rank is None else 1 / rank for rank in ranks]


def _count(conn: Connection, statement: sql.Composed | sql.SQL) -> int:
    row: tuple[Any, ...] | None = conn.execute(statement).fetchone()
    return int(row[0]) if row else 0
