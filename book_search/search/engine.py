"""The search: a query becomes one unit vector, the database finds the books, and each hit is told how notable it is.

Knows how the parts of a query are put together. What near and filtered mean is the database's (sql/), what a vector
is is CLIP's.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pgvector import HalfVector
from psycopg import sql
from psycopg.rows import dict_row

from book_search.clip.model import ModelIdentity, ModelMismatchError
from book_search.clip.templates import TEMPLATES, text_vectors
from book_search.index.connection import Connection
from book_search.index.models import EmbeddingModel, active_model
from book_search.search.background import Background, background, background_sample, spread
from book_search.search.fit import FITS, Fit, fit_to_texts
from book_search.search.query import Filters, Kind, Part, Query, parse_edition_key
from book_search.search.results import Hit, Results

if TYPE_CHECKING:
    from book_search.clip.encoder import Clip
    from book_search.clip.texts import TextEncoder

LoadClip = Callable[[], "Clip"]
LoadTexts = Callable[[], "TextEncoder"]
Model = TypeVar("Model", bound="TextEncoder")


class NothingToSearchError(RuntimeError):
    """No embeddings are ready to be searched yet."""


class UnknownBookError(LookupError):
    """No such book, or one without an embedded cover."""


def search(
    conn: Connection,
    load_clip: LoadClip,
    query: Query,
    limit: int = 10,
    filters: Filters | None = None,
    templates: Sequence[str] = TEMPLATES,
    load_texts: LoadTexts | None = None,
) -> Results:
    """The books that fit the query best, one hit a work.

    Each part of the query becomes a unit vector. They are added with their weights, each divided by the spread of
    its own cosines over the collection (see `Background`), and the sum is normalised: the parts then count as their
    weights say, although the cosines of pictures with pictures spread several times wider than those with texts.
    What is avoided is subtracted. The books that the query says it is like are not among the hits.

    Words are searched beside the vector and fused with it by reciprocal rank, in the database.

    Args:
        conn: from `index.connection.connect`.
        load_clip: gives the model; called only if the query has a picture, or a text and there is no `load_texts`.
        query: what is asked.
        limit: hits at most.
        filters: what every hit must fulfil.
        templates: sentences that a text is put in, at `{}`; the mean of their vectors is the text's.
        load_texts: gives the half of the same model that reads texts, which is there sooner.

    Raises:
        NothingToSearchError: no model is active in the database.
        ModelMismatchError: the loaded model is not the one that made the database's vectors.
        UnknownBookError: a book to be like is not there, or has no embedded cover.
        UndecodableImageError: a picture of the query cannot be decoded.
        ValueError: `limit` is not above 0, or the parts of the query cancel each other out.
    """
    if limit < 1:
        raise ValueError(f"limit is the number of hits wanted, 1 or more, not {limit}")
    model = _active(conn)
    started = time.monotonic()
    parts = query.parts()
    vectors, fit = _vectors(conn, model, load_clip, load_texts or load_clip, parts, templates)
    encoded = time.monotonic()
    sample, covers = background_sample(conn, model) if parts else (np.empty((0, model.dim), np.float32), 0)
    vector = _mixed(parts, vectors, sample) if parts else None
    level = background(sample @ vector, covers) if vector is not None else None
    own = _works(conn, [str(part.value) for part in parts if part.kind is Kind.LIKE])
    found = _search_books(conn, vector, query, limit + len(own), filters or Filters())
    found = [row for row in found if (row["work_key"] or row["edition_key"]) not in own][:limit]
    hits = _hits(conn, model, found, level, fit)
    return Results(
        hits=tuple(hits),
        verdict=_verdict(hits, level),
        model=str(_identity(model)),
        bar=level.bar if level else None,
        background=level.sampled if level else 0,
        seconds={"encode": encoded - started, "search": time.monotonic() - encoded},
    )


def similar(conn: Connection, edition_key: str, limit: int = 10, filters: Filters | None = None) -> Results:
    """The books whose covers are nearest to this edition's cover. Needs no model: the vector is in the database.

    Raises:
        NothingToSearchError, UnknownBookError, ValueError: as `search`.
    """

    def unused() -> "Clip":
        raise AssertionError("a query by a known book needs no model")

    return search(conn, unused, Query(likes=[parse_edition_key(edition_key)]), limit, filters)


def checked_clip(conn: Connection, clip: "Clip") -> "Clip":
    """The same model, if it made the vectors that the database searches.

    Raises:
        NothingToSearchError, ModelMismatchError: as `search`.
    """
    return _same_model(_active(conn), clip)


def _active(conn: Connection) -> EmbeddingModel:
    known = conn.execute("SELECT to_regclass('embedding_model') IS NOT NULL").fetchone()
    model = active_model(conn) if known and known[0] else None
    if model is None:
        raise NothingToSearchError(
            "there is nothing to search yet: no index is built. Materialize search_index, or try book-search demo"
        )
    return model


def _identity(model: EmbeddingModel) -> ModelIdentity:
    return ModelIdentity(model.model_id, model.revision, model.preprocessing)


def _same_model(model: EmbeddingModel, clip: Model) -> Model:
    if clip.identity != _identity(model):
        raise ModelMismatchError(
            f"the database holds vectors of {_identity(model)}, but the query would be of {clip.identity}, and those "
            "cannot be compared: set BOOK_SEARCH_MODEL (and BOOK_SEARCH_REVISION) to the former, or run the road "
            "again with the latter"
        )
    return clip


def _vectors(
    conn: Connection,
    model: EmbeddingModel,
    load_clip: LoadClip,
    load_texts: LoadTexts,
    parts: Sequence[Part],
    templates: Sequence[str],
) -> tuple[np.ndarray, Fit | None]:
    """The unit vectors of the parts, float32 [parts, dim], and the choice that hits are put to if there are texts."""
    vectors, fit = np.empty((len(parts), model.dim), np.float32), None
    by_kind = {kind: [index for index, part in enumerate(parts) if part.kind is kind] for kind in Kind}
    texts, images, likes = by_kind[Kind.TEXT] + by_kind[Kind.AVOID], by_kind[Kind.IMAGE], by_kind[Kind.LIKE]
    if likes:
        vectors[likes] = [_stored_vector(conn, model, str(parts[index].value)) for index in likes]
    if texts:
        reader = _same_model(model, load_texts())
        vectors[texts] = text_vectors(reader, [str(parts[index].value) for index in texts], templates)
        fit = fit_to_texts(reader, parts, vectors)
    if images:
        clip = _same_model(model, load_clip())
        pictures = [value for index in images if isinstance(value := parts[index].value, bytes)]
        vectors[images] = clip.encode_images(pictures)
    return vectors, fit


def _stored_vector(conn: Connection, model: EmbeddingModel, edition_key: str) -> np.ndarray:
    statement = sql.SQL(
        "SELECT b.title, e.embedding FROM book b LEFT JOIN {} e USING (cover_id) WHERE b.edition_key = %s"
    )
    row = conn.cursor(binary=True).execute(statement.format(model.table), [edition_key]).fetchone()
    if row is None:
        raise UnknownBookError(
            f"there is no book {edition_key} here; book-search why {edition_key} tells where it was left"
        )
    if row[1] is None:
        raise UnknownBookError(
            f"{edition_key} ({row[0]}) has no cover that was embedded; book-search why {edition_key} tells the reason"
        )
    vector: np.ndarray = row[1].to_numpy().astype(np.float32)
    return vector


def _mixed(parts: Sequence[Part], vectors: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """The weighted sum of the parts, each over the spread of its cosines with the sample, as a unit vector [dim]."""
    weights = np.array([part.weight for part in parts], np.float32)
    if len(parts) > 1 and len(sample):
        weights /= np.array([spread(column) for column in (sample @ vectors.T).T], np.float32)
        weights /= np.abs(weights).max()
    mixed: np.ndarray = weights @ vectors
    length = float(np.linalg.norm(mixed))
    if length < 1e-3 * float(np.abs(weights).sum()):
        raise ValueError("the parts of the query cancel each other out: what is wanted is also to be avoided")
    return mixed / length


def _works(conn: Connection, edition_keys: list[str]) -> set[str]:
    if not edition_keys:
        return set()
    rows = conn.execute(
        "SELECT coalesce(work_key, edition_key) FROM book WHERE edition_key = ANY (%s)", [edition_keys]
    ).fetchall()
    return {row[0] for row in rows}


def _search_books(
    conn: Connection, vector: np.ndarray | None, query: Query, k: int, filters: Filters
) -> list[dict[str, Any]]:
    asked = {
        "query": None if vector is None else HalfVector(vector),
        "words": query.words if query.has_words else None,
        "k": k,
        "year_from": filters.year_from,
        "year_to": filters.year_to,
        "pages_from": filters.pages_from,
        "pages_to": filters.pages_to,
        "publisher": filters.publisher,
        "author": filters.author,
        "subject": filters.subject,
        "tag": list(filters.tags) or None,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SEARCH_BOOKS, asked).fetchall()


# The casts say which of the two functions of this name is meant, also where a value is NULL.
SEARCH_BOOKS = """
SELECT * FROM search_books(
    query => %(query)s::halfvec, words => %(words)s::text, k => %(k)s::integer,
    year_from => %(year_from)s::integer, year_to => %(year_to)s::integer,
    pages_from => %(pages_from)s::integer, pages_to => %(pages_to)s::integer,
    publisher => %(publisher)s::text, author => %(author)s::text, subject => %(subject)s::text,
    tag => %(tag)s::text[])
"""

DETAILS = """
SELECT b.edition_key, b.subtitle, b.pages, b.publisher, b.isbn13, c.source_url AS cover_url,
    (SELECT coalesce(jsonb_object_agg(t.facet, t.tag ORDER BY t.probability), '{}')
     FROM cover_tag t WHERE t.model = %(model)s AND t.cover_id = b.cover_id) AS tags
FROM book b LEFT JOIN cover c USING (cover_id)
WHERE b.edition_key = ANY (%(keys)s)
"""


def _hits(
    conn: Connection, model: EmbeddingModel, found: Sequence[dict[str, Any]], level: Background | None, fit: Fit | None
) -> list[Hit]:
    with conn.cursor(row_factory=dict_row) as cursor:
        keys = [row["edition_key"] for row in found]
        rows = cursor.execute(DETAILS, {"model": model.model, "keys": keys}).fetchall()
    details = {row["edition_key"]: row for row in rows}
    fits = _fits(conn, model, [row["cover_id"] for row in found if row["cosine"] is not None], fit)
    hits = []
    for row in found:
        cosine = row["cosine"]
        strength = level.strength(cosine) if level is not None and level.sampled and cosine is not None else None
        hits.append(
            Hit(
                **(row | details[row["edition_key"]] | {"authors": tuple(row["authors"])}),
                strength=strength,
                fit=(fitting := fits.get(row["cover_id"])),
                notable=_is_notable(fitting, strength, level.bar if level else None),
            )
        )
    return hits


def _fits(conn: Connection, model: EmbeddingModel, cover_ids: list[int], fit: Fit | None) -> dict[int, float]:
    if fit is None or not cover_ids:
        return {}
    statement = sql.SQL("SELECT cover_id, embedding FROM {} WHERE cover_id = ANY (%s)").format(model.table)
    rows = conn.cursor(binary=True).execute(statement, [cover_ids]).fetchall()
    vectors = np.stack([row[1].to_numpy() for row in rows]).astype(np.float32)
    return {row[0]: float(value) for row, value in zip(rows, fit.of(vectors), strict=True)}


def _is_notable(fit: float | None, strength: float | None, bar: float | None) -> bool:
    """By CLIP's own choice where the query has texts, else by how the score stands among the collection's."""
    if fit is not None:
        return fit >= FITS
    return strength is not None and bar is not None and strength >= bar


def _verdict(hits: Sequence[Hit], level: Background | None) -> str:
    if not hits:
        return "nothing found"
    if level is None:
        return "by words alone"
    if level.bar is None and all(hit.fit is None for hit in hits):
        return "too few covers to say how good"
    return "good match" if any(hit.notable or hit.words_rank is not None for hit in hits) else "no good match"
