"""The tiny CLIP of the sample: it loads as any CLIP does, and knows what the README says it knows."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from book_search.clip.encoder import Clip
from book_search.clip.model import load_clip
from book_search.sample import train
from book_search.sample.captions import caption, random_claim
from book_search.sample.demo import TINY_CLIP
from book_search.sample.drawing import CoverSpec, cover_jpeg, random_spec
from book_search.sample.measure import Figures, measure

SIZE_M = (180, 270)  # pixels: what Open Library's M answers

# A little below what was measured; see the README for the figures themselves.
FLOORS = {
    "object_precision": 0.97,
    "colour_precision": 0.97,
    "caption_recall_1": 0.95,
    "caption_recall_10": 0.99,
    "unseen_templates_recall_1": 0.93,
    "unseen_templates_recall_10": 0.98,
    "paraphrase_recall_1": 0.93,
    "paraphrase_recall_10": 0.98,
    "pair_recall_10": 0.97,
    "partial_precision": 0.95,
    "unseen_templates_precision": 0.94,
    "another_drawing_recall_1": 0.95,
    "another_drawing_recall_10": 0.99,
    "object_top_1": 0.98,
    "colour_top_1": 0.98,
    "object_colour_top_1": 0.97,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model is no faster on more, and slower where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(str(TINY_CLIP))


@pytest.fixture(scope="module")
def others(clip: Clip) -> tuple[list[CoverSpec], np.ndarray]:
    """Covers of all kinds, and their vectors."""
    rng = random.Random(5)
    specs = [random_spec(rng) for _ in range(300)]
    return specs, clip.encode_images([cover_jpeg(spec, SIZE_M) for spec in specs])


@pytest.fixture(scope="module")
def figures(clip: Clip) -> Figures:
    return measure(clip)


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_the_figures_recomputed_from_the_weights_stay_above_their_floors(
    figures: Figures, name: str, floor: float
) -> None:
    assert getattr(figures, name) >= floor


def test_unseen_templates_and_wordings_cost_at_most_a_tenth(figures: Figures) -> None:
    assert figures.unseen_templates_recall_10 >= figures.caption_recall_10 - 0.1
    assert figures.paraphrase_recall_10 >= figures.caption_recall_10 - 0.1
    assert figures.unseen_templates_precision >= figures.partial_precision - 0.1


def test_weights_tokenizer_and_processor_load_by_transformers_own_calls_without_a_network() -> None:
    model = CLIPModel.from_pretrained(TINY_CLIP, dtype=torch.float32, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(TINY_CLIP, local_files_only=True)
    processor = CLIPImageProcessorPil.from_pretrained(TINY_CLIP, local_files_only=True)

    pixels = processor([torch.zeros(3, 300, 200)], return_tensors="pt")["pixel_values"]
    image = model.get_image_features(pixel_values=pixels).pooler_output
    text = model.get_text_features(**tokenizer(["a ship"], return_tensors="pt")).pooler_output

    assert image.shape == text.shape == (1, train.PROJECTION)


def test_the_committed_files_are_a_few_megabytes() -> None:
    assert sum(file.stat().st_size for file in TINY_CLIP.iterdir()) < 8_000_000


def test_captions_come_back_whole_from_their_tokens(clip: Clip) -> None:
    rng = random.Random(0)
    texts = [caption(random_claim(random_spec(rng), rng), rng) for _ in range(200)]

    for text, ids in zip(texts, clip.token_ids(texts), strict=True):
        assert clip.tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",") == text


@pytest.mark.parametrize("text", ["", "日本語の本", "Ünïcode — and 'quotes'!", "ship " * 200, "\n\t"])
def test_any_text_has_tokens_that_end_with_the_end(clip: Clip, text: str) -> None:
    [ids] = clip.token_ids([text])

    assert ids[0] == clip.tokenizer.bos_token_id
    assert ids[-1] == clip.tokenizer.eos_token_id == max(ids)
    assert len(ids) <= train.TEXT_LENGTH
    assert clip.tokenizer.unk_token_id not in ids[:-1]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("a white ship under a moon", {"object": "ship", "object_colour": "white", "companion": "moon"}),
        ("a red heart on a black cover", {"object": "heart", "object_colour": "red", "background": "black"}),
        ("a golden crown", {"object": "crown", "object_colour": "yellow"}),
    ],
)
def test_the_demos_queries_find_what_they_say(
    clip: Clip, others: tuple[list[CoverSpec], np.ndarray], query: str, wanted: dict[str, str]
) -> None:
    rng = random.Random(query)
    fitting: list[CoverSpec] = []
    while len(fitting) < 3:
        spec = random_spec(rng)
        if all(getattr(spec, name) == value for name, value in wanted.items()):
            fitting.append(spec)
    gallery = [*fitting, *others[0]]
    vectors = np.concatenate([clip.encode_images([cover_jpeg(spec, SIZE_M) for spec in fitting]), others[1]])

    scores = vectors @ clip.encode_texts([query])[0]

    for index in scores.argsort()[::-1][:3]:
        assert {name: getattr(gallery[index], name) for name in wanted} == wanted


def test_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SHAPES_ONLY": 1, "KEPT_EVERY": 2, "BATCH": 16, "WARMUP": 1}.items():
        monkeypatch.setattr(train, name, value)
    train.train(tmp_path / "whole", steps=4, pictures=64, seed=0)
    save = train.save

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        train.train(tmp_path / "halves", steps=4, pictures=64, seed=0)
    monkeypatch.setattr(train, "save", save)
    train.train(tmp_path / "halves", steps=4, pictures=64, seed=0)

    whole, halves = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "halves"))
    assert whole == halves
