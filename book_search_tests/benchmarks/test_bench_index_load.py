"""The benchmark of loading runs from end to end at a size of no meaning, and tells of every contender and way."""

from pathlib import Path

import pytest

from book_search_tests.benchmarks import bench_index_load
from book_search_tests.benchmarks.load_changes import BESIDE, LIVE
from book_search_tests.benchmarks.load_contest import CONTENDERS, WHOLE
from book_search_tests.database import *  # noqa: F403


def test_the_benchmark_tells_of_every_contender_and_of_both_ways_to_change(
    open_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_index_load, "ROUNDS", 1)

    bench_index_load.run([300], open_folder, shares=[0.1], vacuumed=[])

    said = capsys.readouterr().out
    assert all(f"| {name} |" in said for name in (*CONTENDERS, *WHOLE))
    assert f"| 10.0% | {LIVE} |" in said
    assert f"| 10.0% | {BESIDE} |" in said
    assert said.count("| 60 |") == 2  # 30 rows of the ledger and 30 embeddings written, whichever way
