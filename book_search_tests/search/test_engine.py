"""A query becomes one vector, and the database's hits come back with their strength, on a real server."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector
from rich.console import Console

from book_search.clip.embeddings import ModelMismatchError
from book_search.clip.encoder import Clip
from book_search.clip.preprocessing import UndecodableImageError
from book_search.clip.texts import LazyTexts
from book_search.index.connection import Connection, connect
from book_search.search.background import spread
from book_search.search.engine import (
    NothingToSearchError,
    UnknownBookError,
    _mixed,
    checked_clip,
    search,
    similar,
)
from book_search.search.fit import GENERIC
from book_search.search.query import Filters, Kind, Part, Query, Weighted
from book_search.search.results import Results
from book_search_tests.index.library import Library
from book_search_tests.search.conftest import (
    BOOKS,
    LIKE_PICTURE,
    PICTURE,
    SAME_WORK,
    SHIP,
    SHIP_BY_DAY,
    SHIP_BY_NIGHT,
    UNCOVERED,
)


def never() -> NoReturn:
    """Stands where no model may be loaded."""
    raise AssertionError("the model was loaded though the query needs none")


def keys(results: Results) -> list[str]:
    """The editions found, best first."""
    return [hit.edition_key for hit in results.hits]


def test_a_text_finds_the_cover_that_shows_it(searching: Connection, clip: Clip) -> None:
    results = search(searching, lambda: clip, Query(texts=["a ship"]), limit=5)

    first = results.hits[0]
    assert (first.edition_key, first.title, first.vector_rank, first.words_rank) == (
        f"OL{SHIP}M",
        "The Narrow Sea",
        1,
        None,
    )
    assert first.cosine is not None
    assert first.cosine > 0.99
    assert first.cover_url == f"http://127.0.0.1/b/id/{SHIP}-M.jpg"
    assert first.tags == {"colour": "black"}
    assert first.notable
    assert results.verdict == "good match"
    assert len(results.hits) == 5


def test_a_picture_finds_covers_like_it(searching: Connection, clip: Clip) -> None:
    results = search(searching, lambda: clip, Query(images=[PICTURE]))

    assert keys(results)[0] == f"OL{LIKE_PICTURE}M"


def test_one_work_is_one_hit(searching: Connection, clip: Clip) -> None:
    found = keys(search(searching, lambda: clip, Query(texts=["a ship"]), limit=10))

    assert f"OL{SAME_WORK}M" not in found
    assert set(found) > {f"OL{SHIP}M", f"OL{SHIP_BY_NIGHT}M", f"OL{SHIP_BY_DAY}M"}


def test_books_like_a_book_are_found_without_a_model_and_without_itself(searching: Connection) -> None:
    results = search(searching, never, Query(likes=[f"OL{SHIP}M"]), limit=2)

    assert set(keys(results)) == {f"OL{SHIP_BY_NIGHT}M", f"OL{SHIP_BY_DAY}M"}
    assert all(hit.notable for hit in results.hits)


def test_similar_books_are_those_that_sql_finds(searching: Connection) -> None:
    results = similar(searching, f"ol{SHIP}m", limit=7)

    rows = searching.execute("SELECT edition_key, cosine FROM similar_books(%s, 7)", [f"OL{SHIP}M"]).fetchall()
    assert keys(results) == [row[0] for row in rows]
    assert [hit.cosine for hit in results.hits] == pytest.approx([row[1] for row in rows], abs=1e-3)


def test_what_is_avoided_falls_behind(searching: Connection, clip: Clip) -> None:
    plain = keys(search(searching, lambda: clip, Query(texts=["a ship"])))
    avoiding = keys(search(searching, lambda: clip, Query(texts=["a ship"], avoids=["night"])))

    night, day = f"OL{SHIP_BY_NIGHT}M", f"OL{SHIP_BY_DAY}M"
    assert {night, day} <= set(plain)
    assert avoiding.index(day) < (avoiding.index(night) if night in avoiding else len(avoiding))


def test_a_book_and_a_text_are_mixed_by_their_weights(searching: Connection, clip: Clip, library: Library) -> None:
    def first(weight: float) -> str:
        query = Query(likes=[Weighted(f"OL{LIKE_PICTURE}M", 1)], texts=[Weighted("a ship", weight)])
        return keys(search(searching, lambda: clip, query))[0]

    nearest = library.vectors[LIKE_PICTURE].astype(np.float32) @ library.vectors.astype(np.float32).T
    nearest[[LIKE_PICTURE, UNCOVERED]] = -1
    assert first(0.01) == f"OL{int(nearest.argmax())}M"
    assert first(100) == f"OL{SHIP}M"


def test_parts_count_by_their_spread_over_the_collection() -> None:
    rng = np.random.default_rng(0)
    wide, narrow = np.eye(8, dtype=np.float32)[:2]
    sample = rng.normal(size=(1000, 8)).astype(np.float32) * [0.3, 0.03, *[0.1] * 6]
    parts = [Part(Kind.LIKE, "OL1M", 1.0), Part(Kind.TEXT, "night", 1.0)]

    mixed = _mixed(parts, np.stack([wide, narrow]), sample)

    assert np.linalg.norm(mixed) == pytest.approx(1, abs=1e-6)
    assert mixed[0] * spread(sample @ wide) == pytest.approx(mixed[1] * spread(sample @ narrow), rel=1e-4)


def test_words_alone_need_no_model(searching: Connection) -> None:
    results = search(searching, never, Query(words='"moby dick" -explained'))

    assert keys(results) == ["OL20M"]
    assert results.hits[0].subtitle == "or, The Whale"
    assert (results.hits[0].cosine, results.hits[0].strength, results.hits[0].words_rank) == (None, None, 1)
    assert results.verdict == "by words alone"


def test_words_and_cover_are_fused(searching: Connection, clip: Clip) -> None:
    results = search(searching, lambda: clip, Query(texts=["a ship"], words="moby dick"), limit=4)

    assert {f"OL{SHIP}M", "OL20M", "OL21M"} <= set(keys(results))
    assert {hit.words_rank for hit in results.hits} == {1, 2, None}
    assert [hit.score for hit in results.hits] == sorted((hit.score for hit in results.hits), reverse=True)


def test_filters_hold_and_cost_no_hits(searching: Connection, clip: Clip) -> None:
    filters = Filters(year_from=1950, year_to=1960, pages_to=200, tags=("colour:blue",))

    results = search(searching, lambda: clip, Query(texts=["a ship"]), limit=4, filters=filters)

    assert len(results.hits) == 4
    for hit in results.hits:
        assert 1950 <= (hit.publish_year or 0) <= 1960
        assert (hit.pages or 999) <= 200
        assert hit.tags["colour"] == "blue"


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (Filters(year_from=1990), lambda row: row["publish_year"] >= 1990),
        (Filters(year_to=1910), lambda row: row["publish_year"] <= 1910),
        (Filters(pages_from=350), lambda row: row["pages"] >= 350),
        (Filters(pages_to=40), lambda row: row["pages"] <= 40),
        (Filters(author="le guin"), lambda row: "Ursula K. Le Guin" in row["authors"]),
        (Filters(publisher="faber"), lambda row: row["publisher"] == "Faber & Faber"),
        (Filters(subject="sea stories"), lambda row: "Sea stories" in row["subjects"]),
        (Filters(tags=("colour:green",)), lambda row: int(row["edition_key"][2:-1]) % 4 == 2),
    ],
    ids=["year_from", "year_to", "pages_from", "pages_to", "author", "publisher", "subject", "tag"],
)
def test_each_filter_finds_all_that_pass_it_and_no_other(
    searching: Connection, clip: Clip, library: Library, filters: Filters, passes: Callable[[dict[str, Any]], bool]
) -> None:
    wanted = {
        row["work_key"] for row in library.books.to_pylist() if passes(row) and row["edition_key"] != f"OL{UNCOVERED}M"
    }

    results = search(searching, lambda: clip, Query(texts=["a ship"]), limit=BOOKS, filters=filters)

    assert {hit.work_key for hit in results.hits} == wanted
    assert 0 < len(wanted) < BOOKS - 1


def test_a_picture_like_no_cover_is_told_so_by_its_strength(searching: Connection, clip: Clip) -> None:
    planted = [SHIP, SHIP_BY_NIGHT, SHIP_BY_DAY, LIKE_PICTURE, SAME_WORK]
    searching.execute("DELETE FROM cover_embedding_1 WHERE cover_id = ANY (%s)", [planted])

    results = search(searching, lambda: clip, Query(images=[PICTURE]))

    assert len(results.hits) == 10
    assert results.verdict == "no good match"
    assert not any(hit.notable for hit in results.hits)


def test_a_text_that_fits_covers_no_better_than_any_caption_does_is_told_so(searching: Connection, clip: Clip) -> None:
    generic = clip.encode_texts(GENERIC).mean(axis=0)
    searching.execute("UPDATE cover_embedding_1 SET embedding = %s", [HalfVector(generic / np.linalg.norm(generic))])

    results = search(searching, lambda: clip, Query(texts=["a ship"]))

    assert len(results.hits) == 10
    assert results.verdict == "no good match"
    assert all(hit.fit is not None and hit.fit < 0.5 for hit in results.hits)


def test_nothing_that_passes_the_filters_is_an_answer_too(searching: Connection, clip: Clip) -> None:
    results = search(searching, lambda: clip, Query(texts=["a ship"]), filters=Filters(author="nobody at all"))

    assert (results.hits, results.verdict) == ((), "nothing found")


def test_a_query_of_another_model_is_refused(searching: Connection, clip: Clip) -> None:
    identity = replace(clip.identity, revision="0" * 64)
    other = replace(clip, description=replace(clip.description, identity=identity))

    with pytest.raises(
        ModelMismatchError, match=r"holds vectors of random-clip at .* would be of random-clip at 000000000000"
    ):
        search(searching, lambda: other, Query(texts=["a ship"]))
    with pytest.raises(ModelMismatchError, match="BOOK_SEARCH_MODEL"):
        checked_clip(searching, other)
    assert checked_clip(searching, clip) is clip


def test_a_text_needs_only_the_half_that_reads_texts(searching: Connection, clip: Clip) -> None:
    asked = Query(texts=["a ship"], avoids=["night"])
    assert clip.texts is not None
    half = LazyTexts(clip.description, lambda: clip.texts or clip)

    results = search(searching, never, asked, load_texts=lambda: half)

    whole = search(searching, lambda: clip, asked)
    assert keys(results) == keys(whole)
    assert [hit.fit for hit in results.hits] == pytest.approx([hit.fit for hit in whole.hits], abs=1e-4)


def test_a_picture_beside_a_text_takes_the_whole_model_for_itself_alone(searching: Connection, clip: Clip) -> None:
    half = LazyTexts(clip.description, lambda: clip.texts or clip)

    results = search(searching, lambda: clip, Query(texts=["a ship"], images=[PICTURE]), load_texts=lambda: half)

    assert keys(results) == keys(search(searching, lambda: clip, Query(texts=["a ship"], images=[PICTURE])))


def test_another_model_is_refused_before_it_is_loaded(searching: Connection, clip: Clip) -> None:
    identity = replace(clip.identity, revision="0" * 64)
    half = LazyTexts(replace(clip.description, identity=identity), never)

    with pytest.raises(ModelMismatchError, match="BOOK_SEARCH_MODEL"):
        search(searching, never, Query(texts=["a ship"]), load_texts=lambda: half)


def test_a_database_without_an_index_says_what_to_do(connection: Connection, server_dsn: str) -> None:
    with pytest.raises(NothingToSearchError, match="Materialize search_index"):
        search(connection, never, Query(words="whale"))
    with (
        connect(psycopg.conninfo.make_conninfo(server_dsn, dbname="postgres")) as bare,
        pytest.raises(NothingToSearchError),
    ):
        search(bare, never, Query(words="whale"))


def test_a_book_that_is_not_there_is_named(searching: Connection) -> None:
    with pytest.raises(UnknownBookError, match="there is no book OL999999M here; book-search why OL999999M"):
        similar(searching, "OL999999M")
    with pytest.raises(UnknownBookError, match=f"OL{UNCOVERED}M .* has no cover that was embedded"):
        similar(searching, f"OL{UNCOVERED}M")


def test_a_broken_picture_is_refused(searching: Connection, clip: Clip) -> None:
    with pytest.raises(UndecodableImageError, match="picture 0"):
        search(searching, lambda: clip, Query(images=[b"<html>"]))


def test_wanting_what_is_avoided_is_refused(searching: Connection, clip: Clip) -> None:
    with pytest.raises(ValueError, match="cancel each other out"):
        search(searching, lambda: clip, Query(texts=["a ship"], avoids=[Weighted("a ship", 2)]))


def test_a_limit_below_one_is_refused(searching: Connection) -> None:
    with pytest.raises(ValueError, match="limit is the number of hits"):
        search(searching, never, Query(words="whale"), limit=0)


def test_the_reader_may_search(searching: Connection, clip: Clip) -> None:
    searching.execute("SET LOCAL ROLE book_search_reader")

    results = search(searching, lambda: clip, Query(texts=["a ship"], words="moby"), limit=3)

    assert len(results.hits) == 3


def test_an_answer_can_be_json_and_a_table(searching: Connection, clip: Clip) -> None:
    results = search(searching, lambda: clip, Query(texts=["a ship"], words="moby dick"), limit=3)

    answer = json.loads(json.dumps(results.as_dict()))
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results.as_table("a ship"))
    shown = console.export_text()

    assert answer["verdict"] == "good match"
    assert answer["hits"][0].keys() >= {"edition_key", "title", "cosine", "strength", "score", "cover_url"}
    assert "The Narrow Sea" in shown
    assert "cover 1" in shown
    assert "words 1" in shown
    assert "good match" in shown
