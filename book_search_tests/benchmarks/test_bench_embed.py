"""The benchmark of embeddings: its contenders turn the same pictures into the same vectors, its table tells it."""

from pathlib import Path

import numpy as np
import pytest

from book_search_tests.benchmarks.bench_embed import Result, table, verdicts, with_cosines
from book_search_tests.benchmarks.embed_contenders import HERE
from book_search_tests.benchmarks.embed_field import prepare
from book_search_tests.clip.random_clip import save_random_clip

COUNT = 40


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contenders' folder with a small model in it."""
    folder = tmp_path_factory.mktemp("embed")
    save_random_clip(folder / "model")
    prepare(folder, [COUNT], None)
    return folder


def test_ours_and_transformers_give_the_same_vectors_of_the_same_pictures(field: Path) -> None:
    results: dict[str, Result | str] = {}
    for name in ("ours-fp32", "transformers", "one"):
        figures = HERE[name](field, COUNT)
        results[name] = Result(figures.get("pictures", COUNT) / figures["wall"], figures["cpu"], 1.0)

    compared = with_cosines(results, field)

    assert len(np.load(field / "vectors" / "ours-fp32.npy")) == COUNT
    for result in compared.values():
        assert isinstance(result, Result)
        assert result.cosine is not None
        assert result.cosine > 0.9999


def test_the_floor_is_a_rate_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("book_search_tests.benchmarks.embed_contenders.PRODUCTS", ((64, 64, 64),))

    assert all(rate > 0 for rate in HERE["floor"](Path(), 0).values())


def test_the_table_tells_shares_of_the_floor_and_who_was_left_out() -> None:
    results: dict[str, Result | str] = {
        "ours-bf16": Result(100, 20, 900, 0.99999),
        "transformers": Result(20, 90, 800, 1.0),
        "openvino-bf16": "no wheel",
    }

    lines = table(results, peak=881.8).splitlines()

    assert lines[2] == "| ours-bf16 | 100.0 | 100% | 20.0 | 900 | 0.999990 |"
    assert lines[4].startswith("| openvino-bf16 | left out: no wheel |")
    assert verdicts(results) == ["5.00 times transformers"]
