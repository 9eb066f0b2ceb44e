"""Pictures and texts become unit vectors, whatever the batch, the length and the neighbours."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search.clip.preprocessing import UndecodableImageError
from book_search.clip.templates import text_vector, text_vectors
from book_search_tests.clip.random_clip import DIM, cover, save_random_siglip

COLOURS = [(20 * n, 255 - 25 * n, (60 * n) % 255) for n in range(9)]


def test_pictures_become_unit_vectors_of_the_models_size(clip: Clip) -> None:
    vectors = clip.encode_images([cover(colour) for colour in COLOURS])

    assert vectors.shape == (9, DIM)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert len(np.unique(vectors.round(4), axis=0)) == 9


def test_the_size_of_a_batch_does_not_change_a_vector(clip: Clip) -> None:
    pictures = [cover(colour) for colour in COLOURS]

    one_by_one = clip.encode_images(pictures, batch_size=1)

    np.testing.assert_allclose(clip.encode_images(pictures, batch_size=4), one_by_one, atol=1e-6)
    np.testing.assert_allclose(clip.encode_images(iter(pictures), batch_size=64), one_by_one, atol=1e-6)


def test_an_undecodable_picture_costs_only_itself(clip: Clip) -> None:
    good = cover((10, 20, 30))

    vectors, undecodable = clip.encode_each_image([good, b"<html>", good[:200], good], batch_size=2)

    assert sorted(undecodable) == [1, 2]
    assert np.isnan(vectors[1:3]).all()
    np.testing.assert_allclose(vectors[[0, 3]], clip.encode_images([good, good]), atol=1e-6)


def test_a_batch_in_which_nothing_can_be_decoded_is_no_error(clip: Clip) -> None:
    vectors, undecodable = clip.encode_each_image([b"", b"nothing"], batch_size=1)

    assert np.isnan(vectors).all()
    assert len(undecodable) == 2


def test_encoding_pictures_that_must_be_good_names_the_bad_one(clip: Clip) -> None:
    with pytest.raises(UndecodableImageError, match="picture 1: no picture in any of the formats"):
        clip.encode_images([cover((1, 2, 3)), b"<html>not found</html>"])


def test_a_picture_may_come_as_bytes_or_as_pil_opened_it(clip: Clip) -> None:
    content = cover((90, 10, 200))

    from_pil = clip.encode_images([Image.open(io.BytesIO(content))])

    np.testing.assert_array_equal(from_pil, clip.encode_images([content]))


def test_no_pictures_and_no_texts_give_no_vectors(clip: Clip) -> None:
    assert clip.encode_images([]).shape == (0, DIM)
    assert clip.encode_texts([]).shape == (0, DIM)


def test_a_texts_vector_does_not_depend_on_its_neighbours(clip: Clip) -> None:
    texts = ["moon", "a white ship", "x", "", "a ship under a moon"]

    together = clip.encode_texts(texts)

    alone = np.concatenate([clip.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_text_beyond_the_models_length_is_cut_with_a_warning(clip: Clip, caplog: pytest.LogCaptureFixture) -> None:
    long = "a b c d e f g h i j " * 20
    with caplog.at_level(logging.WARNING, logger="book_search"):
        vectors = clip.encode_texts([long, long[:43], "short"])

    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)  # 24 tokens: start, 22 letters, end
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "1 of 3 texts are longer than the 24 tokens that the model reads" in warnings[0]
    assert "is 202 tokens long" in warnings[0]


def test_a_text_is_the_mean_of_its_templates(clip: Clip) -> None:
    templates = ["{}", "a cover of {}"]

    vector = text_vector(clip, "a {moon}", templates)

    mean = clip.encode_texts(["a {moon}", "a cover of a {moon}"]).mean(axis=0)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert text_vectors(clip, ["a", "b", "c"], templates).shape == (3, DIM)


def test_a_template_without_a_place_for_the_text_is_refused(clip: Clip) -> None:
    with pytest.raises(ValueError, match=r"has no place \{\}"):
        text_vector(clip, "moon", ["a book cover"])
    with pytest.raises(ValueError, match="at least one template"):
        text_vector(clip, "moon", [])


def test_the_temperature_is_the_models_own(clip: Clip) -> None:
    assert clip.logit_scale == pytest.approx(np.exp(2.6592), rel=1e-5)
    assert clip.logit_bias == 0


def test_a_siglip_model_encodes_both_with_the_same_code(tmp_path: Path) -> None:
    siglip = load_clip(str(save_random_siglip(tmp_path / "siglip")), device="cpu")

    pictures, texts = siglip.encode_images([cover((200, 10, 90))]), siglip.encode_texts(["moon", "a white ship"])

    assert siglip.description.is_siglip
    assert siglip.identity.preprocessing == "stretch-1"
    assert pictures.shape == (1, DIM)
    assert texts.shape == (2, DIM)
    np.testing.assert_allclose(texts[0], siglip.encode_texts(["moon"])[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([pictures, texts]), axis=1), 1, atol=1e-6)
