"""A range's embeddings: computed once for each picture and model, written whole, never computed again."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pytest

from book_search import schemas
from book_search.clip.embeddings import ModelMismatchError, embed_range, embeddings_folder, vectors_of
from book_search.clip.encoder import Clip
from book_search.clip.model import ModelDescription, describe_model, load_clip
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search_tests.clip.random_clip import DIM, cover, put_covers, save_random_clip

RANGE = CoverRange.parse("0014_6")
FIRST, SECOND = f"covers/{RANGE.key}/0014_62.parquet", f"covers/{RANGE.key}/0014_63.parquet"
RED, GREEN, BLUE = cover((250, 10, 10)), cover((10, 250, 10)), cover((10, 10, 250))


class Counting:
    """The model, with a count of the times that it was asked for."""

    def __init__(self, clip: Clip) -> None:
        self.clip, self.loads = clip, 0

    def __call__(self) -> Clip:
        self.loads += 1
        return self.clip


@pytest.fixture
def loader(clip: Clip) -> Counting:
    """Counts how often the model is loaded."""
    return Counting(clip)


@pytest.fixture
def description(clip: Clip) -> ModelDescription:
    """The description of the random CLIP."""
    return clip.description


def never() -> NoReturn:
    """Stands where no model may be loaded."""
    raise AssertionError("the model was loaded though there was nothing to compute")


def stored(lake: Lake, description: ModelDescription, batch: str = "0014_62") -> pa.Table:
    """An embeddings file as it lies in the lake."""
    return lake.read_table(f"{embeddings_folder(description.identity, RANGE)}/{batch}.parquet")


def test_each_good_cover_gets_a_unit_vector(lake: Lake, description: ModelDescription, loader: Counting) -> None:
    put_covers(lake, FIRST, [(14_620_007, "ok", BLUE), (14_620_001, "ok", RED), (14_620_003, "missing", None)])

    report = embed_range(lake, RANGE, description, loader)

    table = stored(lake, description)
    assert table.schema.remove_metadata() == schemas.embeddings(DIM)
    assert table["cover_id"].to_pylist() == [14_620_001, 14_620_007]
    expected = loader.clip.encode_images([RED, BLUE])
    np.testing.assert_allclose(vectors_of(table), expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors_of(table), axis=1), 1, atol=1e-3)
    assert (report.covers, report.embedded, report.reused, report.files_written) == (2, 2, 0, 1)
    assert report.as_metadata()["pictures_per_second"] > 0


def test_a_second_run_computes_nothing_and_loads_no_model(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", GREEN)])
    embed_range(lake, RANGE, description, loader)
    path = lake.uri(f"{embeddings_folder(description.identity, RANGE)}/0014_62.parquet")
    before = Path(path).stat().st_mtime_ns

    report = embed_range(lake, RANGE, description, never)

    assert (report.embedded, report.reused, report.files_written, report.files_unchanged) == (0, 2, 0, 1)
    assert Path(path).stat().st_mtime_ns == before


def test_only_new_pictures_are_computed(lake: Lake, description: ModelDescription, loader: Counting) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", GREEN)])
    embed_range(lake, RANGE, description, loader)
    was = vectors_of(stored(lake, description))
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", BLUE), (14_620_005, "ok", GREEN)])

    report = embed_range(lake, RANGE, description, loader)

    assert (report.embedded, report.reused) == (1, 2)
    table = stored(lake, description)
    assert table["cover_id"].to_pylist() == [14_620_001, 14_620_002, 14_620_005]
    np.testing.assert_array_equal(vectors_of(table)[[0, 2]], was)


def test_identical_pictures_are_embedded_once_in_a_range(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", RED), (14_620_003, "ok", GREEN)])
    put_covers(lake, SECOND, [(14_630_001, "ok", RED), (14_630_002, "ok", RED)])
    seen: list[tuple[int, int | None]] = []

    report = embed_range(lake, RANGE, description, loader, progress=lambda done, total: seen.append((done, total)))

    assert (report.covers, report.embedded, report.reused) == (5, 2, 3)
    assert seen == [(1, 2), (2, 2)]
    assert loader.loads == 1
    both = np.concatenate([vectors_of(stored(lake, description, batch)) for batch in ("0014_62", "0014_63")])
    assert (both[[1, 3, 4]] == both[0]).all()


def test_identical_pictures_are_embedded_once_over_all_ranges(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    other = CoverRange.parse("0012_3")
    put_covers(lake, "covers/0012_3/0012_34.parquet", [(12_340_001, "ok", RED), (12_340_002, "ok", BLUE)])
    embed_range(lake, other, description, loader)
    put_covers(lake, FIRST, [(14_620_001, "ok", BLUE), (14_620_002, "ok", BLUE)])

    report = embed_range(lake, RANGE, description, never)

    assert (report.embedded, report.reused) == (0, 2)
    before = lake.read_table(f"{embeddings_folder(description.identity, other)}/0012_34.parquet")
    np.testing.assert_array_equal(vectors_of(stored(lake, description)), vectors_of(before)[[1, 1]])


def test_covers_that_change_no_picture_need_no_model(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", GREEN)])
    embed_range(lake, RANGE, description, loader)
    put_covers(lake, FIRST, [(14_620_002, "ok", GREEN), (14_620_009, "ok", RED)])

    report = embed_range(lake, RANGE, description, never)

    assert (report.embedded, report.reused, report.files_written) == (0, 2, 1)
    assert stored(lake, description)["cover_id"].to_pylist() == [14_620_002, 14_620_009]


def test_an_undecodable_picture_is_reported_once_and_not_tried_again(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", b"broken"), (14_620_002, "ok", GREEN)])
    put_covers(lake, SECOND, [(14_630_001, "ok", b"broken")])

    first = embed_range(lake, RANGE, description, loader)
    second = embed_range(lake, RANGE, description, never)

    assert (first.covers, first.embedded, sum(first.undecodable.values())) == (3, 1, 2)
    assert second.undecodable == first.undecodable
    assert second.reused == 1
    assert stored(lake, description)["cover_id"].to_pylist() == [14_620_002]
    assert stored(lake, description, "0014_63").num_rows == 0


def test_a_picture_that_became_good_again_is_embedded(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", b"broken")])
    embed_range(lake, RANGE, description, loader)
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])

    report = embed_range(lake, RANGE, description, loader)

    assert (report.embedded, report.undecodable) == (1, {})


def test_a_batch_that_is_wanted_no_more_loses_its_file(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    put_covers(lake, SECOND, [(14_630_001, "ok", BLUE)])
    embed_range(lake, RANGE, description, loader)
    lake.delete(SECOND)

    report = embed_range(lake, RANGE, description, never)

    assert report.files_removed == 1
    assert len(lake.names(embeddings_folder(description.identity, RANGE))) == 1


def test_another_models_vectors_lie_beside_the_old(
    lake: Lake, description: ModelDescription, loader: Counting, tmp_path: Path
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    embed_range(lake, RANGE, description, loader)
    was = stored(lake, description)
    other = str(save_random_clip(tmp_path / "random-clip", seed=7))

    report = embed_range(lake, RANGE, describe_model(other), lambda: load_clip(other, device="cpu"))

    assert report.embedded == 1
    assert stored(lake, description).equals(was)
    assert not np.allclose(vectors_of(stored(lake, describe_model(other))), vectors_of(was), atol=1e-2)


def test_what_former_models_made_of_a_picture_goes_with_the_picture(
    lake: Lake, description: ModelDescription, loader: Counting, tmp_path: Path
) -> None:
    other = str(save_random_clip(tmp_path / "random-clip", seed=7))
    former = describe_model(other)
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "ok", BLUE)])
    put_covers(lake, SECOND, [(14_630_001, "ok", BLUE)])
    embed_range(lake, RANGE, former, lambda: load_clip(other, device="cpu"))
    was = stored(lake, former)
    put_covers(lake, FIRST, [(14_620_001, "ok", RED), (14_620_002, "missing", None)])
    lake.delete(SECOND)

    embed_range(lake, RANGE, description, loader)

    assert stored(lake, former).equals(was.slice(0, 1))
    assert stored(lake, former).schema.metadata == was.schema.metadata
    assert len(lake.names(embeddings_folder(former.identity, RANGE))) == 1


def test_a_model_other_than_the_described_is_refused(
    lake: Lake, description: ModelDescription, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    other = replace(description, identity=replace(description.identity, revision="f" * 40))

    with pytest.raises(ModelMismatchError, match="asked for random-clip at ffffffffffff"):
        embed_range(lake, RANGE, other, loader)

    assert lake.names(embeddings_folder(other.identity, RANGE)) == []


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0], ids=str)
def test_vectors_that_are_not_finite_or_not_of_unit_length_are_never_written(
    weight: float, lake: Lake, description: ModelDescription, clip_folder: Path, tmp_path: Path
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    broken = load_clip(str(shutil.copytree(clip_folder, tmp_path / "random-clip")), device="cpu")
    broken.model.visual_projection.weight.data.fill_(weight)

    with pytest.raises(ValueError, match="1 of 1 vectors are not finite or not of unit length"):
        embed_range(lake, RANGE, description, lambda: broken)

    assert lake.names(embeddings_folder(description.identity, RANGE)) == []


def test_a_range_without_covers_is_no_error(lake: Lake, description: ModelDescription) -> None:
    report = embed_range(lake, RANGE, description, never)

    assert (report.covers, report.files_written) == (0, 0)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_no_stored_vector(
    lake: Lake, description: ModelDescription, clip: Clip, batch_size: int
) -> None:
    pictures = [cover((25 * n, 200 - 20 * n, 9 * n)) for n in range(8)]
    put_covers(lake, FIRST, [(14_620_000 + n, "ok", picture) for n, picture in enumerate(pictures)])
    load: Callable[[], Clip] = lambda: clip  # noqa: E731

    embed_range(lake, RANGE, description, load, batch_size=batch_size)

    np.testing.assert_allclose(vectors_of(stored(lake, description)), clip.encode_images(pictures), atol=1e-3)


def test_a_file_tells_the_way_that_its_vectors_took(
    lake: Lake, description: ModelDescription, clip_folder: Path, loader: Counting
) -> None:
    put_covers(lake, FIRST, [(14_620_001, "ok", RED)])
    quick = load_clip(str(clip_folder), device="cpu", engine="fp32")

    report = embed_range(lake, RANGE, description, lambda: quick)

    assert report.as_metadata()["engine"] == "fp32, packed"
    assert stored(lake, description).schema.metadata[b"book_search.engine"] == b"fp32, packed"
    assert embed_range(lake, RANGE, description, loader).as_metadata().get("engine") is None
    assert loader.loads == 0  # another way is no other model
