"""The search benchmark tells who finds what: recall is counted against the truth, and who never reaches it is named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from book_search_tests.benchmarks.bench_index_search import tables
from book_search_tests.benchmarks.clustered import draw_field, nearest
from book_search_tests.benchmarks.search_contest import CLIENTS, KINDS, TARGETS, K, Search, run_contender


class Numpy:
    """Compares all of the first rows: an eighth of them at width 1, all at width 8."""

    settings = (1, 8)
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        self.vectors = np.asarray(vectors)

    def client(self, setting: int) -> Search:
        seen = self.vectors[: len(self.vectors) * setting // 8]

        def search(query: np.ndarray) -> Sequence[int]:
            places: list[int] = np.argsort(-(seen @ query))[:K].tolist()
            return places

        return search


class Wrong(Numpy):
    settings = (1,)


@pytest.fixture
def field(tmp_path: Path) -> Path:
    drawn = draw_field(800, 32, 40)
    np.save(tmp_path / "vectors.npy", drawn.vectors)
    for kind, queries in (("images", drawn.images), ("texts", drawn.texts)):
        np.save(tmp_path / f"{kind}.npy", queries)
        np.save(tmp_path / f"{kind}_cosines.npy", nearest(drawn.vectors, queries)[1])
    return tmp_path


def test_recall_is_counted_and_rates_are_taken_at_the_least_width_that_reaches_it(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("book_search_tests.benchmarks.search_contest.SECONDS", 0.01)

    measured = run_contender(Numpy(), field)

    recalls = {(one["kind"], one["setting"]): one["recall"] for one in measured["settings"]}
    assert all(recalls[kind, 8] == 1 and recalls[kind, 1] < 0.4 for kind in KINDS)
    assert {one["setting"] for one in measured["rates"]} == {8}
    assert len(measured["rates"]) == len(KINDS) * len(TARGETS) * len(CLIENTS)
    assert all(one["rate"] > 0 for one in measured["rates"])


def test_who_never_reaches_a_recall_or_fails_is_told(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("book_search_tests.benchmarks.search_contest.SECONDS", 0.01)
    results = {
        "hnswlib": run_contender(Numpy(), field),
        "wrong": run_contender(Wrong(), field),
        "absent": {"failed": "no wheel"},
    }

    told = tables(results)

    assert "| hnswlib at 0.98 | 1.000 | 8 |" in told
    assert "| wrong | never 0.98 |" in told
    assert "absent is left out: no wheel" in told
    assert told.count(" 1.0 | ") == len(KINDS) * len(TARGETS)
