"""What can be asked, and what is no question."""

import pytest

from book_search.search.query import (
    AVOID_WEIGHT,
    Filters,
    Kind,
    Part,
    Query,
    Weighted,
    parse_edition_key,
    parse_weighted,
)


def test_a_query_is_a_weighted_mix() -> None:
    query = Query(
        texts=["a ship", Weighted("a moon", 0.5)],
        images=[b"bytes"],
        likes=[Weighted("/books/ol5m", 2)],
        avoids=["people"],
        words="whale",
    )

    assert query.parts() == [
        Part(Kind.TEXT, "a ship", 1.0),
        Part(Kind.TEXT, "a moon", 0.5),
        Part(Kind.IMAGE, b"bytes", 1.0),
        Part(Kind.LIKE, "OL5M", 2),
        Part(Kind.AVOID, "people", -AVOID_WEIGHT),
    ]
    assert query.has_words


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({}, "nothing is asked for"),
        ({"words": "  "}, "nothing is asked for"),
        ({"avoids": ["people"]}, "nothing is asked for"),
        ({"texts": [" "]}, "an empty text says nothing"),
        ({"images": [b""]}, "an empty image says nothing"),
        ({"texts": [Weighted("a ship", 0)]}, "a weight is a number above 0"),
        ({"texts": [Weighted("a ship", float("nan"))]}, "a weight is a number above 0"),
        ({"likes": ["OL5W"]}, "no edition key"),
        ({"texts": "a ship"}, "texts is a list of values"),
    ],
)
def test_what_is_no_question_is_refused(parts: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Query(**parts)  # type: ignore[arg-type]


def test_a_weight_may_be_typed_behind_a_text() -> None:
    assert parse_weighted("a white moon^0.5") == Weighted("a white moon", 0.5)
    assert parse_weighted(" a moon ^2") == Weighted("a moon", 2)
    assert parse_weighted("up^ or down") == Weighted("up^ or down", 1)
    with pytest.raises(ValueError, match="above 0"):
        parse_weighted("a moon^0")


def test_an_edition_key_may_be_typed_in_any_of_its_forms() -> None:
    assert {parse_edition_key(key) for key in ("OL123M", " ol123m ", "/books/OL123M", "books/OL123M")} == {"OL123M"}


def test_filters_that_no_book_can_pass_are_refused() -> None:
    with pytest.raises(ValueError, match="no book has years from 2020 to 2010"):
        Filters(year_from=2020, year_to=2010)
    with pytest.raises(ValueError, match="no book has pages from 2 to 1"):
        Filters(pages_from=2, pages_to=1)
    with pytest.raises(ValueError, match="a tag is written facet:tag"):
        Filters(tags=("blue",))
