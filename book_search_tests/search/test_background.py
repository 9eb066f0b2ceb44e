"""How notable a score is: told by the level and the spread of covers drawn at random."""

import numpy as np
import pytest

from book_search.index.connection import Connection
from book_search.index.models import active_model
from book_search.search.background import SAMPLE, Background, background, background_sample, sample_vectors
from book_search_tests.search.conftest import BOOKS, DIM


def test_strength_is_counted_in_spreads_above_the_level() -> None:
    noise = np.random.default_rng(0).normal(0.2, 0.025, 1000)

    level = background(noise, 70_000)

    assert level.level == pytest.approx(0.2, abs=0.003)
    assert level.spread == pytest.approx(0.025, rel=0.1)
    assert level.strength(0.33) == pytest.approx(5.2, rel=0.1)


def test_covers_that_fit_the_query_do_not_hide_it() -> None:
    rng = np.random.default_rng(0)
    noise, fitting = rng.normal(0.2, 0.02, 800), rng.normal(0.4, 0.02, 200)

    level = background(np.concatenate([noise, fitting]), 1000)

    assert level.level == pytest.approx(0.2, abs=0.01)
    assert level.strength(0.4) > (level.bar or 0)


def test_the_bar_rises_with_the_collection() -> None:
    assert Background(0, 1, 500, 500).bar == pytest.approx(3.71, abs=0.01)
    assert Background(0, 1, 70_000, 1000).bar == pytest.approx(4.82, abs=0.01)
    assert Background(0, 1, 10, 10).bar is None


def test_noise_seldom_looks_notable() -> None:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(400):
        cosines = rng.normal(0.2, 0.03, 1000)
        level = background(cosines, 1000)
        passed += level.strength(cosines.max()) > (level.bar or 0)

    assert passed / 400 < 0.10  # 0.05 by design; the spread is estimated from the same covers


def test_equal_cosines_have_a_spread_all_the_same() -> None:
    assert np.isfinite(background(np.full(50, 0.3), 50).strength(0.3))


def test_a_sample_is_drawn_the_same_each_time(searching: Connection) -> None:
    model = active_model(searching)
    assert model is not None

    first, covers = sample_vectors(searching, model)
    second, _ = sample_vectors(searching, model)

    assert covers == BOOKS - 1
    assert first.shape == (BOOKS - 1, DIM)
    np.testing.assert_array_equal(first, second)


def test_a_large_table_is_sampled_by_pages(searching: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    model = active_model(searching)
    assert model is not None
    monkeypatch.setattr("book_search.search.background.SMALL", 10)
    monkeypatch.setattr("book_search.search.background.SAMPLE", 50)

    sample, covers = sample_vectors(searching, model)

    assert covers == pytest.approx(BOOKS - 1, rel=0.05)  # the planner's estimate
    assert 0 < len(sample) <= 50 < SAMPLE


def test_the_sample_is_read_once_for_a_build_and_again_for_the_next(searching: Connection) -> None:
    model = active_model(searching)
    assert model is not None
    first, covers = background_sample(searching, model)
    searching.execute("DELETE FROM cover_embedding_1 WHERE cover_id < 100")

    kept, still = background_sample(searching, model)
    searching.execute(
        """INSERT INTO index_build (model, index_name, rebuilt, rows, rows_changed, seconds, recall)
           SELECT model, index_name, false, rows - 100, rows_changed + 100, 0, 1 FROM index_build"""
    )
    read_again, now = background_sample(searching, model)

    assert kept is first
    assert (covers, still, now) == (BOOKS - 1, BOOKS - 1, BOOKS - 1 - 99)
    np.testing.assert_array_equal(read_again, sample_vectors(searching, model)[0])
