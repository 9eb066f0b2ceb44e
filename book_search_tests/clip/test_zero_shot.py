"""Which words fit a picture: the model's own probabilities, and a range's tags made of stored vectors."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow.compute as pc
import pytest

from book_search import schemas
from book_search.clip.embeddings import embed_range
from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search.clip.zero_shot import Facet, classify, load_facets, tag_range, tags_folder
from book_search.cover_ranges import CoverRange
from book_search.lake import Lake
from book_search_tests.clip.random_clip import cover, put_covers, save_random_siglip

RANGE = CoverRange.parse("0014_6")
RED, GREEN, BLUE = cover((250, 10, 10)), cover((10, 250, 10)), cover((10, 10, 250))
FACETS = (
    Facet("colour", "a {} cover", ("red", "green", "blue")),
    Facet("medium", "{}", ("photograph", "drawing")),
)


def never() -> NoReturn:
    """Stands where no model may be loaded."""
    raise AssertionError("the model was loaded though there was nothing to compute")


@pytest.fixture
def embedded(lake: Lake, clip: Clip) -> Lake:
    """A lake with the embeddings of three covers."""
    pictures = [(14_620_001, "ok", RED), (14_620_002, "ok", GREEN), (14_630_003, "ok", BLUE)]
    put_covers(lake, f"covers/{RANGE.key}/0014_62.parquet", pictures[:2])
    put_covers(lake, f"covers/{RANGE.key}/0014_63.parquet", pictures[2:])
    embed_range(lake, RANGE, clip.description, lambda: clip)
    return lake


def test_clips_labels_share_one_probability_by_its_temperature(clip: Clip) -> None:
    labels = ["red", "green", "blue"]

    probabilities = classify(clip, [RED, BLUE], labels, "a {} cover")

    cosines = clip.encode_images([RED, BLUE]) @ clip.encode_texts([f"a {label} cover" for label in labels]).T
    exponentials = np.exp(clip.logit_scale * cosines.astype(np.float64))
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_siglips_labels_stand_each_alone(tmp_path: Path) -> None:
    siglip = load_clip(str(save_random_siglip(tmp_path / "siglip")), device="cpu")

    together, alone = classify(siglip, [RED], ["red", "green"]), classify(siglip, [RED], ["red"])

    np.testing.assert_allclose(together[0, 0], alone[0, 0], rtol=1e-4)
    assert 0 < alone[0, 0] < 1
    cosine = siglip.encode_images([RED])[0] @ siglip.encode_texts(["a book cover of red"])[0]
    expected = 1 / (1 + np.exp(-(siglip.logit_scale * cosine + siglip.logit_bias)))
    np.testing.assert_allclose(alone[0, 0], expected, rtol=1e-4)


def test_vectors_are_classified_as_their_pictures_are(clip: Clip) -> None:
    vectors = clip.encode_images([RED, GREEN])

    np.testing.assert_allclose(classify(clip, vectors, ["a", "b"]), classify(clip, [RED, GREEN], ["a", "b"]), rtol=1e-4)


def test_classifying_without_labels_is_refused(clip: Clip) -> None:
    with pytest.raises(ValueError, match="at least one label"):
        classify(clip, [RED], [])


def test_each_cover_gets_the_likeliest_tag_of_each_facet(embedded: Lake, clip: Clip) -> None:
    report = tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)

    assert (report.covers, report.tags, report.files_written) == (3, 6, 2)
    table = embedded.read_table(f"{tags_folder(clip.description, RANGE)}/0014_62.parquet")
    assert table.schema.remove_metadata() == schemas.TAGS
    assert table["cover_id"].to_pylist() == [14_620_001, 14_620_001, 14_620_002, 14_620_002]
    assert table["facet"].to_pylist() == ["colour", "medium"] * 2
    expected = classify(clip, [RED, GREEN], FACETS[0].tags, FACETS[0].template)
    colours = table.filter(np.asarray(table["facet"].to_pylist()) == "colour")
    assert colours["tag"].to_pylist() == [FACETS[0].tags[index] for index in expected.argmax(axis=1)]
    np.testing.assert_allclose(colours["probability"].to_numpy(), expected.max(axis=1), atol=5e-3)
    assert set(colours["template"].to_pylist()) == {"a {} cover"}


def test_tags_that_are_current_are_left_alone_without_the_model(embedded: Lake, clip: Clip) -> None:
    tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)

    report = tag_range(embedded, RANGE, clip.description, never, FACETS)

    assert (report.files_written, report.files_unchanged, report.tags) == (0, 2, 6)


def test_other_facets_or_other_pictures_make_new_tags(embedded: Lake, clip: Clip) -> None:
    tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)

    fewer = tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS[:1])
    put_covers(embedded, f"covers/{RANGE.key}/0014_63.parquet", [(14_630_003, "ok", RED)])
    embed_range(embedded, RANGE, clip.description, lambda: clip)
    changed = tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS[:1])

    assert (fewer.files_written, fewer.tags) == (2, 3)
    assert (changed.files_written, changed.files_unchanged) == (1, 1)


def test_a_new_cover_is_tagged_alone_and_the_tags_of_the_others_stay_to_the_last_bit(
    embedded: Lake, clip: Clip
) -> None:
    tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)
    path = f"{tags_folder(clip.description, RANGE)}/0014_63.parquet"
    before = embedded.read_table(path)
    put_covers(embedded, f"covers/{RANGE.key}/0014_63.parquet", [(14_630_003, "ok", BLUE), (14_630_001, "ok", RED)])
    embed_range(embedded, RANGE, clip.description, lambda: clip)

    report = tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)

    after = embedded.read_table(path)
    assert (report.tagged, report.files_written) == (len(FACETS), 1)
    assert after.filter(pc.equal(after["cover_id"], 14_630_003)).equals(before)
    assert after["cover_id"].to_pylist() == [14_630_001] * len(FACETS) + [14_630_003] * len(FACETS)


def test_tags_of_a_batch_that_is_gone_are_removed(embedded: Lake, clip: Clip) -> None:
    tag_range(embedded, RANGE, clip.description, lambda: clip, FACETS)
    embedded.delete(f"covers/{RANGE.key}/0014_63.parquet")
    embed_range(embedded, RANGE, clip.description, never)

    report = tag_range(embedded, RANGE, clip.description, never, FACETS)

    assert (report.files_removed, report.covers) == (1, 2)


def test_the_packages_own_facets_are_well_formed() -> None:
    names = [facet.name for facet in load_facets()]

    assert {"colour", "medium", "mood", "genre"} <= set(names)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[colour]\ntemplate = "a cover"\ntags = ["red", "blue"]', "template of .colour. has no place"),
        ('[colour]\ntags = ["red"]', "needs at least two tags"),
        ('[colour]\ntags = ["red", "red"]', "needs at least two tags"),
        ("[colour\n", "facets.toml"),
        ('colour = "red"', "colour is no table"),
    ],
)
def test_a_facets_file_that_cannot_be_used_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "facets.toml"
    path.write_text(text)

    with pytest.raises(ValueError, match=complaint):
        load_facets(path)


def test_a_facets_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no facets file .*mine\.toml; BOOK_SEARCH_FACETS names it"):
        load_facets(tmp_path / "mine.toml")
