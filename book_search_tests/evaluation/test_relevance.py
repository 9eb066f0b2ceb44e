"""The measures tell how good the search is: right where it is right, low where it is broken, and how sure."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from book_search.clip.embeddings import ModelMismatchError
from book_search.clip.encoder import Clip
from book_search.evaluation.measure import measure, wilson
from book_search.evaluation.relevance import relevance_report
from book_search.evaluation.report import RelevanceReport
from book_search.index.connection import Connection
from book_search.search.engine import NothingToSearchError
from book_search_tests.search.conftest import BOOKS, LIKE_PICTURE, SHIP


def values(report: RelevanceReport) -> dict[str, float]:
    """The figures by name."""
    return {each.name: each.value for each in report.measures}


def test_a_sound_index_and_full_text_find_what_is_known(searching: Connection) -> None:
    report = relevance_report(searching, samples=50)

    figures = values(report)
    assert (report.covers, report.books) == (BOOKS - 1, BOOKS)
    assert figures["index_recall_at_10"] >= 0.98
    assert figures["self_retrieval_at_1"] == 1
    assert figures["known_title_at_10"] == 1
    assert figures["known_title_mrr"] > 0.9
    assert {each.name: each.n for each in report.measures} == {
        "index_recall_at_10": 500,
        "self_retrieval_at_1": 50,
        "known_title_at_10": 50,
        "known_title_mrr": 50,
    }


def test_with_a_model_titles_are_searched_by_words_and_covers(searching: Connection, clip: Clip) -> None:
    report = relevance_report(searching, clip, samples=20)

    assert values(report)["known_title_at_10"] == 1
    assert "by words and covers" in report.as_markdown()


def test_captions_are_found_by_what_the_covers_show(searching: Connection, clip: Clip) -> None:
    captions = {SHIP: "a ship", LIKE_PICTURE: "a ship"}

    figures = values(relevance_report(searching, clip, captions, samples=20))

    # One caption is true; the other cover shows something else.
    assert figures["known_caption_at_1"] == 0.5
    assert figures["known_caption_at_10"] == 0.5
    assert figures["known_caption_mrr"] == 0.5


def test_an_index_that_finds_the_wrong_covers_measures_low(searching: Connection) -> None:
    searching.execute("ALTER FUNCTION nearest_covers RENAME TO true_nearest_covers")
    searching.execute(
        """CREATE FUNCTION nearest_covers(model integer, query halfvec, k integer, wanted book_filter DEFAULT NULL)
           RETURNS TABLE (cover_id bigint, cosine double precision) LANGUAGE sql STABLE
           AS 'SELECT cover_id, 1 - (embedding <=> query) FROM cover_embedding_1 ORDER BY cover_id DESC LIMIT k'"""
    )

    figures = values(relevance_report(searching, samples=20))

    assert figures["index_recall_at_10"] < 0.2
    assert figures["self_retrieval_at_1"] < 0.2


def test_titles_that_are_not_searchable_measure_low(searching: Connection) -> None:
    searching.execute("UPDATE book SET title = title || ' lost'")
    before = values(relevance_report(searching, samples=20))["known_title_at_10"]
    searching.execute("ALTER TABLE book ALTER words DROP EXPRESSION")
    searching.execute("UPDATE book SET words = ''")

    after = values(relevance_report(searching, samples=20))["known_title_at_10"]

    assert (before, after) == (1, 0)


def test_the_same_samples_are_drawn_each_time(searching: Connection) -> None:
    first, second = relevance_report(searching, samples=10), relevance_report(searching, samples=10)

    assert first.measures == second.measures


def test_captions_without_a_model_are_refused(searching: Connection) -> None:
    with pytest.raises(ValueError, match="only be searched for with a model"):
        relevance_report(searching, captions={SHIP: "a ship"})
    with pytest.raises(ValueError, match="samples is the number of trials"):
        relevance_report(searching, samples=0)


def test_another_model_is_refused(searching: Connection, clip: Clip) -> None:
    identity = replace(clip.identity, preprocessing="other-1")

    with pytest.raises(ModelMismatchError):
        relevance_report(searching, replace(clip, description=replace(clip.description, identity=identity)))


def test_nothing_loaded_is_nothing_to_measure(connection: Connection) -> None:
    with pytest.raises(NothingToSearchError, match="Materialize search_index"):
        relevance_report(connection)


def test_a_report_can_be_a_table_numbers_and_a_picture(searching: Connection) -> None:
    report = relevance_report(searching, samples=10)

    assert "| self_retrieval_at_1 | 1.000 | 0.722 to 1.000 | 10 |" in report.as_markdown()
    assert json.loads(json.dumps(report.as_metadata()))["self_retrieval_at_1"] == 1
    assert json.loads(json.dumps(report.as_dict()))["measures"][1]["n"] == 10
    assert len(ET.fromstring(report.as_svg()).findall("{http://www.w3.org/2000/svg}path")) == len(report.measures)
    assert report.as_markdown_with_plot().startswith("![figures](data:image/svg+xml;base64,")


@pytest.mark.parametrize(("share", "n"), [(1.0, 10), (0.5, 10), (0.0, 50), (0.9, 200)])
def test_the_interval_is_wilsons(share: float, n: int) -> None:
    low, high = wilson(share, n)

    # By its definition: true shares from which the one seen lies 1.96 standard errors away, within 0 to 1.
    for true in (low, high):
        variance = true * (1 - true) / n
        assert (share - true) ** 2 == pytest.approx(1.959964**2 * variance, abs=1e-12)
    assert 0 <= low <= share <= high <= 1
    assert high > low


def test_a_measure_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="recall was measured on nothing"):
        measure("recall", [], "")
