"""CLIP's tokenizer without transformers gives the same ids as with it, in every form that it is published in."""

import json
import logging
import random
import shutil
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from book_search.clip.tokens import ClipTokenizer, open_clip_tokenizer
from book_search_tests.clip.clip_vocabulary import (
    END,
    LENGTH,
    few_merges,
    old_configuration,
    old_whole,
    openai_merges,
    write_parts,
)

FORMS = ("transformers 5", "transformers 4", "parts", "parts without a configuration")
ODD = [
    *(
        "ship's",
        "DON'T",
        "'ll",
        "  ",
        "\n",
        "\t",
        "é",
        "É",
        "e\u0301",
        "ﬁ",
        "日本語",
        "✓",
        "🚢",
        "½",
        "İ",
        "ß",
        "\u00a0",
    ),
    *("<|endoftext|>", "<|ENDOFTEXT|>", "<|startoftext|>", "<|STARTOFTEXT|>", "\u200b", "\x00"),
    *("1990", "...", "!?", "_", "x" * 60),
]


@pytest.fixture(scope="module", params=["few words", "OpenAI's words"])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One vocabulary in a folder for each form."""
    published = request.param == "OpenAI's words"
    folder = tmp_path_factory.mktemp("forms")
    packed = request.getfixturevalue("shared") / "clip_golden/bpe_simple_vocab_16e6.txt.gz" if published else None
    parts = write_parts(folder / "parts", openai_merges(packed) if packed else few_merges())
    (parts / "tokenizer_config.json").write_text(json.dumps(old_configuration()))
    bare = Path(shutil.copytree(parts, folder / "bare"))
    (bare / "tokenizer_config.json").unlink()
    new = folder / "new"
    AutoTokenizer.from_pretrained(bare).save_pretrained(new)
    shutil.copy(parts / "config.json", new)
    old = Path(shutil.copytree(parts, folder / "old"))
    (old / "tokenizer.json").write_text(json.dumps(old_whole(json.loads((new / "tokenizer.json").read_text()))))
    return dict(zip(FORMS, (new, old, parts, bare), strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_ids_are_those_of_transformers(forms: dict[str, Path], form: str) -> None:
    rng = random.Random(5)
    pieces = [*ODD, *string.ascii_letters, "ship", "moon", " ", " "]
    texts = ["", *("".join(rng.choice(pieces) for _ in range(rng.randrange(30))) for _ in range(400))]
    texts += [" ".join(rng.choice(pieces) for _ in range(120)) for _ in range(20)]
    texts += ["".join(chr(rng.randrange(1, 0xD800)) for _ in range(12)) for _ in range(200)]
    expected = AutoTokenizer.from_pretrained(forms[form])(texts, truncation=True, max_length=LENGTH)["input_ids"]

    assert _tokenizer(forms[form]).ids(texts) == expected


def test_ids_are_the_published_ones(shared: Path, tmp_path: Path) -> None:
    golden: dict[str, list[int]] = json.loads((shared / "clip_golden/golden.json").read_text())["tokens"]
    parts = write_parts(tmp_path / "parts", openai_merges(shared / "clip_golden/bpe_simple_vocab_16e6.txt.gz"))

    assert _tokenizer(parts).ids(list(golden)) == list(golden.values())


def test_a_text_beyond_the_models_length_keeps_its_end_and_is_told_of(
    forms: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = _tokenizer(forms["transformers 5"])

    with caplog.at_level(logging.WARNING, logger="book_search"):
        [long, short] = tokenizer.ids(["x " * 100, "x"])

    assert len(long) == LENGTH
    assert (long[0], long[-1]) == (short[0], short[-1])
    assert "1 of 2 texts are longer than the 77 tokens" in caplog.records[0].getMessage()
    assert "is 102 tokens long" in caplog.records[0].getMessage()


def test_threads_may_share_a_tokenizer(forms: dict[str, Path]) -> None:
    tokenizer = _tokenizer(forms["transformers 5"])
    questions = [["ship " * (1 + n % 90), "moon"][: 1 + n % 2] for n in range(200)]
    expected = [tokenizer.ids(texts) for texts in questions]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(tokenizer.ids, questions)) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"tokenizer_class": "GemmaTokenizer"},
        {"pad_token": "!"},
        {"additional_special_tokens": ["<cover>"]},
        {"added_tokens_decoder": {"0": {"content": "<cover>"}}},
        {"add_eos_token": True},
        {"truncation_side": "left"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_is_not_plainly_clips_tokenizer_is_left_to_transformers(
    forms: dict[str, Path], changed: dict[str, Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(forms["transformers 4"], tmp_path / "changed"))
    said = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(said | changed))

    assert open_clip_tokenizer(folder, LENGTH) is None


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("model", {"end_of_word_suffix": "@@"}),
        ("model", {"dropout": 0.1}),
        ("added_tokens", "one more"),
        ("post_processor", None),
    ],
)
def test_a_file_of_another_kind_of_tokenizer_is_left_to_transformers(
    forms: dict[str, Path], part: str, changed: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(forms["transformers 5"], tmp_path / "changed"))
    whole = json.loads((folder / "tokenizer.json").read_text())
    if changed == "one more":
        changed = [*whole[part], whole[part][1] | {"id": 9999, "content": "<cover>"}]
    whole[part] = whole[part] | changed if isinstance(changed, dict) else changed
    (folder / "tokenizer.json").write_text(json.dumps(whole))

    assert open_clip_tokenizer(folder, LENGTH) is None


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    assert open_clip_tokenizer(tmp_path, LENGTH) is None


def _tokenizer(folder: Path) -> ClipTokenizer:
    found = open_clip_tokenizer(folder, LENGTH)
    assert found is not None
    assert found.tokenizer.token_to_id(END) is not None
    return found
