"""A look at a range's embeddings finds every way in which they can be wrong."""

import numpy as np
import pyarrow as pa
import pytest

from book_search.clip.embeddings import embed_range, embeddings_folder
from book_search.clip.encoder import Clip
from book_search.clip.soundness import VectorsLook, look_at_vectors
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search_tests.clip.random_clip import cover, put_covers

RANGE = CoverRange.parse("0014_6")
COVERS = f"covers/{RANGE.key}/0014_62.parquet"
RED, GREEN = cover((250, 10, 10)), cover((10, 250, 10))
ROWS = [(14_620_001, "ok", RED), (14_620_003, "missing", None), (14_620_007, "ok", GREEN), (14_620_008, "ok", GREEN)]


@pytest.fixture
def embedded(lake: Lake, clip: Clip) -> Lake:
    """A lake with three covers of two pictures, and their vectors."""
    put_covers(lake, COVERS, ROWS)
    embed_range(lake, RANGE, clip.description, lambda: clip)
    return lake


def look(lake: Lake, clip: Clip) -> VectorsLook:
    return look_at_vectors(lake, clip.identity, RANGE)


def spoil(lake: Lake, clip: Clip, row: int, vector: np.ndarray) -> None:
    """Put another vector in the place of a stored one."""
    path = f"{embeddings_folder(clip.identity, RANGE)}/0014_62.parquet"
    table = lake.read_table(path)
    vectors = table["vector"].to_pylist()
    vectors[row] = vector.astype(np.float16)
    column = pa.array(vectors, table.schema.field("vector").type)
    lake.write_table(path, table.set_column(2, table.schema.field("vector"), column))


def test_vectors_just_made_are_sound(embedded: Lake, clip: Clip) -> None:
    found = look(embedded, clip)
    assert found.sound
    assert (found.pictures, found.vectors, found.such_as) == (3, 3, None)


@pytest.mark.parametrize(
    ("factor", "fault"), [(0.0, "not_unit"), (1.01, "not_unit"), (np.nan, "not_finite"), (np.inf, "not_finite")]
)
def test_a_vector_that_is_no_unit_vector_is_found(embedded: Lake, clip: Clip, factor: float, fault: str) -> None:
    dim = clip.description.dim
    spoil(embedded, clip, 1, np.full(dim, factor / np.sqrt(dim)))

    found = look(embedded, clip)

    assert not found.sound
    assert {name: found.as_metadata()[name] for name in ("not_unit", "not_finite")} == {
        "not_unit": 0,
        "not_finite": 0,
        fault: 1,
    }
    assert found.such_as == 14_620_007


def test_a_picture_without_a_vector_is_found(embedded: Lake, clip: Clip) -> None:
    put_covers(embedded, COVERS, [*ROWS, (14_620_009, "ok", cover((1, 2, 3)))])
    found = look(embedded, clip)
    assert (found.without, found.such_as, found.sound) == (1, 14_620_009, False)


def test_a_vector_of_another_picture_than_the_ledgers_is_found(embedded: Lake, clip: Clip) -> None:
    put_covers(embedded, COVERS, [(14_620_001, "ok", cover((7, 7, 7))), *ROWS[1:]])
    assert look(embedded, clip).without == 1


def test_a_vector_without_a_picture_is_found(embedded: Lake, clip: Clip) -> None:
    put_covers(embedded, COVERS, ROWS[:2])
    assert look(embedded, clip).too_many == 2


def test_a_range_that_was_never_embedded_lacks_all(lake: Lake, clip: Clip) -> None:
    put_covers(lake, COVERS, ROWS)
    assert (look(lake, clip).without, look(lake, clip).vectors) == (3, 0)


def test_a_picture_that_cannot_be_shown_to_the_model_is_told_and_no_fault(lake: Lake, clip: Clip) -> None:
    put_covers(lake, COVERS, [*ROWS, (14_620_009, "ok", b"no picture")])
    embed_range(lake, RANGE, clip.description, lambda: clip)
    found = look(lake, clip)
    assert (found.sound, found.pictures, found.vectors, found.undecodable) == (True, 4, 3, 1)


def test_an_empty_range_is_sound(lake: Lake, clip: Clip) -> None:
    assert look(lake, clip) == VectorsLook()
