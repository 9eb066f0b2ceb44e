"""A library of 400 books in a real Postgres: covers of noise, and a few planted where texts and pictures point."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search.clip.templates import text_vector
from book_search.index.build import build_index
from book_search.index.connection import Connection, connect
from book_search.index.load import load_books, load_range
from book_search.index.models import register_model
from book_search_tests.clip.random_clip import cover, save_random_clip
from book_search_tests.database import *  # noqa: F403
from book_search_tests.database import new_database
from book_search_tests.index.library import Library, draw_library, embedding_table

BOOKS, DIM = 400, 64
PICTURE = cover((250, 10, 10))

# What lies where; every other cover is noise.
SHIP, SHIP_BY_NIGHT, SHIP_BY_DAY, LIKE_PICTURE, SAME_WORK, UNCOVERED = 7, 8, 9, 10, 11, 12
TITLES = {SHIP: "The Narrow Sea", 20: "Moby Dick", 21: "Moby Dick Explained"}


def towards(*vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The direction between unit vectors."""
    summed = np.sum(vectors, axis=0)
    direction: npt.NDArray[np.float32] = summed / np.linalg.norm(summed)
    return direction


def unlike(vector: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What of a vector is not of the other, as a unit vector."""
    return towards(vector - (vector @ other) * other)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A CLIP of random weights: what it sees means nothing, but it is always the same."""
    folder: Path = save_random_clip(tmp_path_factory.mktemp("models") / "random-clip", dim=DIM)
    return load_clip(str(folder), device="cpu")


@pytest.fixture(scope="session")
def library(clip: Clip) -> Library:
    """Row i is book OL{i}M of work OL{i}W with cover i."""
    drawn = draw_library(BOOKS, DIM)
    vectors = np.random.default_rng(5).normal(size=(BOOKS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ship, night = text_vector(clip, "a ship"), text_vector(clip, "night")
    picture = clip.encode_images([PICTURE])[0]
    by_night, by_day = unlike(night, ship), unlike(vectors[0], ship)
    planted = {
        SHIP: towards(ship, 0.1 * vectors[SHIP]),
        SHIP_BY_NIGHT: towards(ship, 0.5 * by_night),
        SHIP_BY_DAY: towards(ship, 0.5 * by_day),
        LIKE_PICTURE: towards(picture, 0.1 * vectors[LIKE_PICTURE]),
        SAME_WORK: towards(ship, 0.2 * vectors[SAME_WORK]),
    }
    for row, vector in planted.items():
        vectors[row] = vector
    books = drawn.books
    changed = {"title": TITLES, "work_key": {SAME_WORK: f"OL{SHIP}W"}, "subtitle": {20: "or, The Whale"}}
    for name, values in changed.items():
        column = [values.get(row, was) for row, was in enumerate(books[name].to_pylist())]
        books = books.set_column(
            books.schema.get_field_index(name), books.schema.field(name), pa.array(column, pa.string())
        )
    urls = pa.array([f"http://127.0.0.1/b/id/{row}-M.jpg" for row in range(BOOKS)])
    covers = drawn.covers.set_column(
        drawn.covers.schema.get_field_index("source_url"), drawn.covers.schema.field("source_url"), urls
    )
    halved = vectors.astype(np.float16)
    kept = [row for row in range(BOOKS) if row != UNCOVERED]
    shas = covers["sha256"].to_pylist()
    embeddings = embedding_table(kept, [shas[row] for row in kept], halved[kept])
    return Library(books, covers, embeddings, drawn.tags, halved)


@pytest.fixture(scope="session")
def planted_dsn(server_dsn: str, library: Library, clip: Clip) -> Iterator[str]:
    """A database with that library, loaded and indexed as the assets do it."""
    identity = clip.identity
    with new_database(server_dsn) as dsn:
        with connect(dsn) as conn:
            model = register_model(conn, identity.model_id, identity.revision, identity.preprocessing, DIM, "{}")
            load_books(conn, library.books)
            load_range(conn, model, (0, 100_000), library.covers, library.embeddings, library.tags)
            build_index(conn, model)
        yield dsn


@pytest.fixture
def searching(planted_dsn: str) -> Iterator[Connection]:
    """A connection to the library, whose changes are undone."""
    with connect(planted_dsn) as conn, conn.transaction(force_rollback=True):
        yield conn
